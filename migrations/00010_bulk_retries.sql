-- +goose Up
-- Many deliveries that were retried at once. The row says what is to be retried, how far the walk through it has come and
-- what has become of it so far; everything else is told by the deliveries and attempts themselves.
create table bulk_retries (
  id                uuid primary key,              -- UUIDv7
  tenant_key        bigint not null references tenants (key),
  actor             text not null,                 -- who started it
  status            text not null,                 -- running, paused, done, cancelled
  filter            jsonb not null,                -- as it was asked for, with its times frozen
  event_keys        uuid[],                        -- the events that the filter names; null for any
  rate              integer not null,              -- deliveries queued a second at most
  idempotency_key   text,                          -- of the request that started it; null for none
  total             integer not null,              -- deliveries that the filter chose when it was started
  queued            integer not null default 0,    -- of these, queued for an attempt
  skipped           jsonb not null default '{}',   -- and left out: how many, by reason
  delivered         integer not null default 0,    -- of the queued ones: their attempt succeeded
  failed            integer not null default 0,    -- it failed
  unsent            integer not null default 0,    -- none was made: held or cancelled before its turn
  after_event       uuid,                          -- the last delivery that the walk has taken up; null at the start
  after_destination bigint,
  walked            boolean not null default false, -- the walk is through
  run               integer not null default 1,    -- rises with each resumption; jobs of earlier runs are void
  next_at           timestamptz not null default now(), -- when the next portion is due
  note              text not null default '',      -- why it does not go on for now
  created_at        timestamptz not null,
  changed_at        timestamptz not null default now(), -- of the status
  changed_by        text not null default '',      -- who paused, resumed or cancelled it
  finished_at       timestamptz                    -- when the last outcome was known
) with (fillfactor = 50);
create index bulk_retries_tenant on bulk_retries (tenant_key, id);
create index bulk_retries_open on bulk_retries (id) where finished_at is null;
create unique index bulk_retries_idempotency on bulk_retries (tenant_key, idempotency_key) where idempotency_key is not null;

-- The bulk retry that a delivery was queued by last, and the state it had before; null when something else has queued it
-- since. Its attempt names the bulk retry, too. The indexes are made day by day, see migrations/indexes.go.
alter table deliveries add column retry_id uuid, add column retry_from delivery_status;
alter table attempts add column retry_id uuid;

-- Manual retries by tenant and minute, for a limit by the hour. Written only where there is one.
create table retry_minutes (
  tenant_key bigint not null,
  minute     timestamptz not null,
  retries    integer not null,
  primary key (tenant_key, minute)
) with (fillfactor = 50);

-- +goose Down
drop table retry_minutes;
alter table attempts drop column retry_id;
alter table deliveries drop column retry_id, drop column retry_from;
drop table bulk_retries;
