-- +goose Up
-- After how many failed deliveries in a row it is disabled; null for the server's default, 0 for never.
alter table destinations add column disable_after integer;
create index destinations_disabled on destinations (disabled_at) where disabled_at is not null and deleted_at is null;

-- What the recording transactions found out about destinations, one row for each destination and transaction, until it is
-- folded into the tables below, once a second. Rows are only added and taken away, so that no transaction of the path of
-- events waits for another one.
create table health_deltas (
  destination_key   bigint not null,
  tenant_key        bigint not null,
  minute            timestamptz not null,
  deliveries        integer not null default 0,    -- attempted for the first time
  failed_deliveries integer not null default 0,    -- of those, failed
  attempts          integer not null default 0,
  failed_attempts   integer not null default 0,
  lag_ms            bigint not null default 0,     -- longest wait of an event for its first attempt
  outcomes          bytea,                         -- see models.packOutcomes
  code              integer not null default 0,    -- of the last failure, like the four below
  error_class       text,
  error             text,
  advice            text,
  filter_failures   integer not null default 0,    -- events on which the destination's filter failed
  filter_error      text
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_insert_threshold = 1000000);

-- How each destination does. A row appears with its first attempt.
create table destination_health (
  destination_key bigint primary key,
  tenant_key      bigint not null,
  failures        integer not null default 0,      -- deliveries that failed since the last success
  attempts        integer not null default 0,      -- attempts that failed since the last success
  given_up        integer not null default 0,      -- deliveries that failed for good since the last success
  since           timestamptz,                     -- the first of those failures
  last_failure_at timestamptz,
  last_success_at timestamptz,
  code            integer not null default 0,
  error_class     text not null default '',
  error           text not null default '',
  advice          text not null default '',
  lag_ms          bigint not null default 0,
  lag_at          timestamptz,
  filter_failures integer not null default 0,
  filter_error    text not null default '',
  filter_failed_at timestamptz,
  reset_at        timestamptz,                     -- what happened before does not count: the destination was enabled then
  probes          integer not null default 0,      -- made since it was disabled
  probe_at        timestamptz,                     -- when the next one is due; null for none
  probe           jsonb                            -- the one that is under way; null for none
) with (fillfactor = 50);
create index destination_health_failing on destination_health (failures) where failures > 0;
create index destination_health_filter on destination_health (filter_failed_at) where filter_failed_at is not null;
create index destination_health_probing on destination_health (destination_key) where probe is not null;
create index destination_health_probe on destination_health (probe_at) where probe_at is not null;

-- The past, for rates and charts. Partitioned by day, as events are.
create table health_minutes (
  destination_key   bigint not null,
  minute            timestamptz not null,
  tenant_key        bigint not null,
  deliveries        integer not null,
  failed_deliveries integer not null,
  attempts          integer not null,
  failed_attempts   integer not null,
  given_up          integer not null,
  peak              integer not null,              -- most deliveries in a row that had failed within the minute
  at_end            integer not null,              -- and how many at its end
  filter_failures   integer not null,
  lag_ms            bigint not null,
  primary key (destination_key, minute)
) partition by range (minute);
create index health_minutes_minute on health_minutes (minute);

-- Who owns a channel, a rule, an alert: a tenant (owner_key), or the server's operators (0).
create table channels (
  key        bigint generated always as identity primary key,
  owner_key  bigint not null,
  id         text not null unique,
  name       text not null,
  type       text not null,
  config     jsonb not null default '{}',
  secrets    bytea,                                -- sealed; null for none
  digest_at  timestamptz,                          -- when the last digest went out
  version    bigint not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz
);
create index channels_owner on channels (owner_key) where deleted_at is null;

create table alert_rules (
  key             bigint generated always as identity primary key,
  owner_key       bigint not null,
  id              text not null unique,
  name            text not null,
  condition       jsonb not null,
  kind            text not null,                   -- the condition's word
  destination_ids jsonb,                           -- null for all
  topics          jsonb,                           -- null for all
  channel_ids     jsonb,                           -- null for all of the owner's
  every_seconds   bigint not null default 3600,
  resolve         boolean not null default true,
  disabled        boolean not null default false,
  created_at      timestamptz not null default now(),
  updated_at      timestamptz not null default now(),
  deleted_at      timestamptz
);
create index alert_rules_owner on alert_rules (owner_key) where deleted_at is null;

-- The rules that everybody has from the first day. models.defaultRules has the same for tenants to come.
insert into alert_rules (owner_key, id, name, condition, kind)
select o.key, 'rule_' || o.key || '_' || r.kind, r.name, r.condition::jsonb, r.kind
from (select 0::bigint as key union all select key from tenants where deleted_at is null) o,
  (values ('disable_steps', 'Failures in a row', '{"disable_steps": [50, 70, 90, 100]}'),
          ('disabled', 'Destination disabled', '{"disabled": true}')) r (kind, name, condition);

create table alerts (
  id              uuid primary key,                -- UUIDv7
  owner_key       bigint not null,
  rule_key        bigint not null,
  tenant_key      bigint not null,
  destination_key bigint not null,
  status          text not null,                   -- open, acknowledged or resolved
  step            integer not null default 0,      -- percent of the threshold that was reached, with steps
  severity        text not null,
  summary         text not null,
  detail          jsonb not null,
  opened_at       timestamptz not null,
  updated_at      timestamptz not null,
  acknowledged_at timestamptz,
  acknowledged_by text not null default '',
  muted_until     timestamptz,
  muted_by        text not null default '',
  resolved_at     timestamptz,
  resolution      text not null default ''
);
create unique index alerts_open on alerts (rule_key, destination_key) where status <> 'resolved';
create index alerts_owner on alerts (owner_key, status, id);
create index alerts_destination on alerts (destination_key, id);

create table notifications (
  id              uuid primary key,                -- UUIDv7, the same for every try
  owner_key       bigint not null,
  channel_key     bigint not null,
  alert_id        uuid,                            -- null for a test, and for a digest
  rule_key        bigint,
  destination_key bigint,
  kind            text not null,                   -- opened, repeated, resolved, test
  status          text not null,                   -- waiting (for a digest), queued, sent, failed, suppressed
  reason          text not null default '',        -- why it was suppressed, or put into a digest
  digest_id       uuid,                            -- the notification that tells this one too
  notice          jsonb not null,
  tries           integer not null default 0,
  code            integer not null default 0,
  answer          text not null default '',
  error           text not null default '',
  advice          text not null default '',
  actor           text not null default '',        -- who asked for it, with tests and what was sent again
  created_at      timestamptz not null,
  due_at          timestamptz,                     -- when the next try is due
  sent_at         timestamptz
);
create index notifications_owner on notifications (owner_key, id);
create index notifications_destination on notifications (destination_key, created_at) where destination_key is not null;
create index notifications_channel on notifications (channel_key, created_at);
create index notifications_alert on notifications (alert_id, channel_key, id) where alert_id is not null;
create index notifications_digest on notifications (digest_id) where digest_id is not null;
create index notifications_waiting on notifications (channel_key) where status = 'waiting';

-- +goose Down
drop index destinations_disabled;
drop table notifications, alerts, alert_rules, channels, health_minutes, destination_health, health_deltas;
alter table destinations drop column disable_after;
