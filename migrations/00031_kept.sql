-- +goose Up

-- How far the events of a tenant were gone through that keeps less than the server does.
create table kept_marks (
  tenant_key bigint primary key references tenants (key),
  past       uuid not null default '00000000-0000-0000-0000-000000000000', -- events before it were erased when their time was over
  delivered  uuid not null default '00000000-0000-0000-0000-000000000000'  -- events before it were looked at whether they are delivered
) with (fillfactor = 50);

-- Events to look at again: of a tenant that keeps no payloads after success, those that were not delivered yet; and those that
-- were erased while an attempt may have been under way, whose receipt is to be erased, too.
create table kept_later (
  tenant_key bigint not null,
  event_id   uuid not null,
  noted_at   timestamptz not null default now(),
  primary key (tenant_key, event_id)
);

-- +goose Down
drop table kept_later, kept_marks;
