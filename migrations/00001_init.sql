-- +goose Up
create type delivery_status as enum (
  'pending', 'delivering', 'delivered', 'retrying', 'failed', 'held', 'filtered_out', 'cancelled');

-- Tenants are kept after deletion (deleted_at), so that their history still explains itself. Their id may be used again.
create table tenants (
  key        bigint generated always as identity primary key,
  id         text not null,
  metadata   jsonb,
  -- Rises with every change of the tenant's destinations. The accepting transaction reads it and routes with
  -- destinations compiled for exactly that version.
  version    bigint not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz
);
create unique index tenants_id on tenants (id) where deleted_at is null;

create table destinations (
  key               bigint generated always as identity primary key,
  tenant_key        bigint not null references tenants (key),
  id                text not null,
  type              text not null,
  name              text not null default '',
  topics            jsonb not null,                -- ["*"] for all, also future ones
  filter            json,                          -- as the caller wrote it; null for none
  filter_key        bigint,                        -- the row of destination_filters in force; null for none
  config            jsonb not null default '{}',
  credentials       bytea,                         -- sealed; null for none
  delivery_metadata jsonb,
  metadata          jsonb,
  retry             jsonb,                         -- null for the server's default policy
  timeout_ms        integer,                       -- null for the server's default
  max_in_flight     integer,                       -- null for the server's default
  signature         text not null default '',
  disabled_at       timestamptz,
  disabled_reason   text not null default '',
  disabled_by       text not null default '',
  -- True once a delivery of this destination was cancelled before its first attempt: workers then look at the row
  -- before a first attempt as well.
  careful           boolean not null default false,
  version           bigint not null default 1,
  created_at        timestamptz not null default now(),
  updated_at        timestamptz not null default now(),
  deleted_at        timestamptz
);
create unique index destinations_id on destinations (tenant_key, id) where deleted_at is null;

-- Every filter a destination ever had. An event names the ones that held it back, so that the reason can be told
-- later although the destination's filter has changed since.
create table destination_filters (
  key             bigint generated always as identity primary key,
  destination_key bigint not null references destinations (key),
  filter          json not null,
  created_at      timestamptz not null default now()
);

-- Events, deliveries and attempts are partitioned by the day in the event's id (UUIDv7), so that a look-up by id finds
-- its partition and retention drops whole days. See migrations.EnsurePartitions.
create table events (
  id             uuid not null,
  tenant_key     bigint not null,
  caller_id      text,                             -- the id the publisher chose; null when we made it
  topic          text not null,
  time           timestamptz,                      -- as the publisher said; null for the time of receipt
  retry          boolean not null,                 -- eligible_for_retry
  filtered_by    bigint[],                         -- destination_filters that held it back; null for none
  metadata       json,
  data           text not null,                    -- payload, byte for byte
  primary key (id)
) partition by range (id);
create index events_tenant on events (tenant_key, id);
create index events_caller_id on events (tenant_key, caller_id) where caller_id is not null;

-- One row per event and destination it goes to. No index holds a column that the usual path (pending to delivered)
-- changes, and pages keep room, so that those updates stay within their page (HOT).
create table deliveries (
  event_id        uuid not null,
  destination_key bigint not null,
  tenant_key      bigint not null,
  next_attempt_at timestamptz,
  last_attempt_at timestamptz,
  turn            integer not null default 0,      -- rises each time the delivery is queued anew; jobs of older turns are void
  attempts        integer not null default 0,
  last_code       integer,
  manual_retries  smallint not null default 0,
  status          delivery_status not null,
  error_class     text,
  error           text,
  advice          text,
  reason          text,
  -- Statuses somebody may look for; null on the usual path.
  attention       delivery_status generated always as (
    case when status in ('retrying', 'failed', 'held', 'filtered_out', 'cancelled') then status end) stored,
  primary key (event_id, destination_key)
) partition by range (event_id);
create index deliveries_destination on deliveries (destination_key, event_id);
create index deliveries_attention on deliveries (tenant_key, attention, event_id) where attention is not null;
create index deliveries_destination_attention on deliveries (destination_key, attention, event_id) where attention is not null;

create table attempts (
  event_id        uuid not null,
  destination_key bigint not null,
  tenant_key      bigint not null,
  started_at      timestamptz not null,
  number          integer not null,                -- from 1
  duration_us     integer not null,
  dns_us          integer not null default 0,
  connect_us      integer not null default 0,
  tls_us          integer not null default 0,
  first_byte_us   integer not null default 0,
  code            integer not null default 0,      -- 0 for systems without status codes
  ok              boolean not null,
  truncated       boolean not null default false,
  trigger         text not null,                   -- automatic, manual, bulk, test
  actor           text not null default '',
  error_class     text,
  error           text,
  advice          text,
  raw_error       text,
  method          text not null default '',
  url             text not null default '',
  request_header  text not null default '',
  response_header text not null default '',
  response_body   bytea,
  primary key (event_id, destination_key, number)
) partition by range (event_id);
create index attempts_tenant on attempts (tenant_key, started_at);
create index attempts_destination on attempts (destination_key, started_at);
create index attempts_failed on attempts (tenant_key, started_at) where not ok;

-- Processes that are alive. Each holds the advisory lock (1, lock_key) on a connection of its own, which PostgreSQL
-- lets go the moment the process dies.
create table processes (
  id         text primary key,                     -- also the queue client's id in attempted_by
  lock_key   integer generated always as identity,
  role       text not null,
  host       text not null,
  pid        integer not null,
  started_at timestamptz not null default now(),
  seen_at    timestamptz not null default now()
);

create table topics (
  name        text primary key,
  description text not null default '',
  example     json,
  created_at  timestamptz not null default now()
);

create table users (
  id            uuid primary key,
  email         text not null,
  name          text not null,
  password_hash text not null,
  created_at    timestamptz not null default now()
);
create unique index users_email on users (lower(email));

create table sessions (
  token_hash bytea primary key,                    -- SHA-256 of the cookie
  user_id    uuid references users (id) on delete cascade,
  tenant_key bigint references tenants (key),      -- a portal session sees this tenant only
  created_at timestamptz not null default now(),
  expires_at timestamptz not null
);
create index sessions_expires on sessions (expires_at);

create table api_keys (
  id           uuid primary key,
  name         text not null,
  hash         bytea not null unique,              -- SHA-256 of the key
  hint         text not null,                      -- prefix and last four characters
  scopes       text[] not null,
  tenant_key   bigint references tenants (key),
  created_by   text not null,
  created_at   timestamptz not null default now(),
  expires_at   timestamptz,
  last_used_at timestamptz,
  revoked_at   timestamptz
);

create table portal_links (
  token_hash bytea primary key,
  tenant_key bigint not null references tenants (key),
  theme      text not null default '',
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  used_at    timestamptz
);

create table audit (
  id         uuid primary key,                     -- UUIDv7
  tenant_key bigint,
  actor      text not null,
  action     text not null,
  object     text not null,
  outcome    text not null default 'ok',
  detail     jsonb,
  ip         text not null default '',
  request_id text not null default ''
);
create index audit_tenant on audit (tenant_key, id);

-- Facts the server keeps about itself: the set-up code, whether the first run is over.
create table settings (
  key   text primary key,
  value jsonb not null
);

-- +goose Down
drop table settings, audit, portal_links, api_keys, sessions, users, topics, processes, attempts, deliveries, events,
  destination_filters, destinations, tenants;
drop type delivery_status;
