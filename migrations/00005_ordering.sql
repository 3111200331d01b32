-- +goose Up
alter table destinations
  add column ordered boolean not null default false,          -- deliveries with one ordering key go out one after the other
  -- True once it was ordered: what was accepted then still goes out in order.
  add column ever_ordered boolean not null default false,
  add column on_exhausted text not null default '',           -- 'block' when a failed delivery stops those behind it
  add column rate_per_second double precision;                -- null for no limit

-- The deliveries that are not finished of each ordering key, in the order in which they were accepted. Only the first of
-- a key has a job. Whoever adds or removes a row holds the key's advisory lock.
create table ordered_deliveries (
  destination_key bigint not null,
  ordering_key    text not null,
  seq             bigint generated always as identity,
  event_id        uuid not null,
  primary key (destination_key, ordering_key, seq)
);
create unique index ordered_deliveries_event on ordered_deliveries (destination_key, event_id);

-- Until when the sending times of destinations with a rate limit are given to workers. A crash of PostgreSQL may forget
-- them, which costs a second's worth of the limit.
create unlogged table rate_limits (
  destination_key bigint primary key,
  free_at         timestamptz not null
) with (fillfactor = 50);

-- +goose Down
drop table rate_limits, ordered_deliveries;
alter table destinations drop column ordered, drop column ever_ordered, drop column on_exhausted, drop column rate_per_second;
