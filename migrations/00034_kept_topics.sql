-- +goose Up

-- How far events were gone through for rules that keep some topics for so many days: those of a tenant, or with the tenant 0 those of
-- the whole server. With other patterns they are gone through anew.
create table kept_topic_marks (
  tenant_key bigint not null,
  days       integer not null,
  patterns   text[] not null,
  past       uuid not null default '00000000-0000-0000-0000-000000000000', -- events before it were looked at when their time was over
  primary key (tenant_key, days)
) with (fillfactor = 50);

-- +goose Down
drop table kept_topic_marks;
