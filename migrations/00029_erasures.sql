-- +goose Up

-- What was erased, or is being erased: who asked for it, what it chose and how far it has come. The row stays as the record.
create table erasures (
  id          uuid primary key,                    -- UUIDv7
  tenant_key  bigint not null references tenants (key),
  actor       text not null,                       -- who asked for it
  why         text not null default '',            -- what they said
  scope       text not null,                       -- event, filter, tenant
  filter      jsonb not null default '{}',         -- with its times frozen
  event_key   uuid,                                -- of scope event
  phase       text not null default 'walk',        -- walk, wait for attempts under way, sweep what these have left, done
  total       integer,                             -- events to look at; null until they are counted
  looked      integer not null default 0,          -- of these, looked at
  erased      integer not null default 0,          -- of these, erased
  cancelled   integer not null default 0,          -- deliveries called off because of it
  attempts    integer not null default 0,          -- attempts whose requests and answers were erased
  after_event uuid,                                -- the last event that the walk has seen to; null at the start
  walked_at   timestamptz,
  created_at  timestamptz not null,
  finished_at timestamptz
) with (fillfactor = 50);
create index erasures_tenant on erasures (tenant_key, id);
create index erasures_open on erasures (id) where finished_at is null;

-- Of an event whose data was erased: when, a sentence that says by whom and why, and by which erasure; null otherwise.
alter table events add column erased_at timestamptz, add column erased_why text, add column erasure_id uuid;

-- +goose Down
alter table events drop column erased_at, drop column erased_why, drop column erasure_id;
drop table erasures;
