-- +goose Up
-- The expression that makes the body of a destination's messages; '' for the payload as it is.
alter table destinations add column transform text not null default '';
alter table destinations add column transform_key bigint; -- the row of destination_transforms in force; null for none

-- Every transform a destination ever had. An attempt names the one that made its body, so that what was sent can be shown
-- later although the destination's transform has changed since: the same expression gives the same for the same event.
create table destination_transforms (
  key             bigint generated always as identity primary key,
  destination_key bigint not null references destinations (key),
  transform       text not null,
  created_at      timestamptz not null default now()
);
alter table attempts add column transform_key bigint;      -- null for the payload as it is

-- How many events each rule of a filter held back, by the hour. Written in the background, see models/filter_counts.go.
create table filter_counts (
  filter_key bigint not null,                              -- a row of destination_filters
  hour       timestamptz not null,
  rule       integer not null,                             -- from 1; 0 for events on which the filter failed
  events     bigint not null,
  primary key (filter_key, hour, rule)
);
create index filter_counts_hour on filter_counts (hour);
create index destination_filters_destination on destination_filters (destination_key, key);

-- +goose Down
drop index destination_filters_destination;
drop table filter_counts;
alter table attempts drop column transform_key;
drop table destination_transforms;
alter table destinations drop column transform_key, drop column transform;
