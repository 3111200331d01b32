-- +goose Up
-- What the operator set for a tenant, by name; what is missing is the server's.
alter table tenants add column if not exists settings jsonb not null default '{}';

-- Limits of manual retries of a destination, below those of its tenant; null for the tenant's.
alter table destinations add column manual_retry_limit integer, add column manual_retries_per_hour integer;

-- Manual retries by destination and minute, for a limit by the hour. Written only where there is one.
create table destination_retry_minutes (
  destination_key bigint not null,
  minute          timestamptz not null,
  retries         integer not null,
  primary key (destination_key, minute)
) with (fillfactor = 50);

-- The ordering key of an event that a filter held back, for when it is sent after all; null for others. A column without a
-- default changes the catalogue only.
alter table events add column ordering_key text;

-- +goose Down
alter table events drop column ordering_key;
drop table destination_retry_minutes;
alter table destinations drop column manual_retry_limit, drop column manual_retries_per_hour;
alter table tenants drop column if exists settings;
