-- +goose Up
-- What accepting and recording transactions did for a tenant, one row for each transaction and tenant, until it is folded into
-- traffic, once a second. As with health_deltas, rows are only added and taken away, so that nobody waits for a counter.
create table traffic_deltas (
  tenant_key   bigint not null,
  minute       timestamptz not null,               -- of receipt, or of the attempt's start
  received     integer not null,                   -- events accepted
  delivered    integer not null,                   -- deliveries that were acknowledged
  failed       integer not null,                   -- deliveries that were given up
  retrying     integer not null,                   -- deliveries whose first attempt failed and that are tried again
  first        integer not null,                   -- first attempts
  first_failed integer not null,                   -- of those, failed
  latencies    bytea                               -- of automatic deliveries, from receipt to acknowledgement; see models.latencies
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_insert_threshold = 1000000);

-- The numbers of a span of time: of each tenant, and of all (tenant_key 0). They stay when the events are dropped.
create table traffic (
  tenant_key   bigint not null,
  grain        integer not null,                   -- length of the span in seconds: 60 or 1800
  start        timestamptz not null,
  received     bigint not null,
  delivered    bigint not null,
  failed       bigint not null,
  retrying     bigint not null,
  first        bigint not null,
  first_failed bigint not null,
  latencies    bytea,
  primary key (tenant_key, grain, start)
) with (fillfactor = 70);

-- Before this, nothing was counted in traffic.
insert into settings (key, value) values ('traffic_since', to_jsonb(now()));

-- +goose Down
delete from settings where key = 'traffic_since';
drop table traffic, traffic_deltas;
