-- +goose Up
-- All attempts, and bytes of the events' payloads. Processes of the last release write neither, and go on writing.
alter table traffic_deltas add column attempts integer not null default 0, add column bytes bigint not null default 0;
alter table traffic add column attempts bigint not null default 0, add column bytes bigint not null default 0;

-- What each tenant has used on a day (UTC) that is over, kept for longer than traffic. Days of which there is nothing have no row.
create table usage_days (
  tenant_key bigint not null,
  day        date not null,
  received   bigint not null,                      -- events accepted
  bytes      bigint not null,                      -- of their payloads
  first      bigint not null,                      -- deliveries attempted
  attempts   bigint not null,
  delivered  bigint not null,
  failed     bigint not null,
  primary key (tenant_key, day)
);

-- +goose Down
drop table usage_days;
alter table traffic drop column attempts, drop column bytes;
alter table traffic_deltas drop column attempts, drop column bytes;
delete from settings where key = 'usage_counted_to';
