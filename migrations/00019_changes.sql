-- +goose Up
-- What has changed, for those who keep a copy of their own. A row is written in the transaction that makes the change, and
-- gets its position later, once that has committed: positions are given out one after the other to what is visible, so that
-- none comes late and none is missing.
create table changes (
  seq        bigint generated always as identity primary key,
  position   bigint,                               -- place in the feed; null until it has one
  id         uuid not null default gen_random_uuid(),
  at         timestamptz not null default now(),
  tenant_key bigint,                               -- null for what belongs to the whole server
  type       text not null,                        -- tenant, destination, topic, alert_rule, delivery; for operators' events
                                                   -- only also attempt, failures, subscription
  action     text not null,
  object     text not null,                        -- its public id
  version    bigint,                               -- of a destination
  changes    json,                                 -- field by field, without secrets; null for none
  state      json                                  -- the thing after the change, without secrets; null when it was deleted
);
create unique index changes_position on changes (position) where position is not null;
create index changes_tenant on changes (tenant_key, position) where position is not null;
create index changes_unplaced on changes (seq) where position is null;

-- One row about the feed as a whole. Whoever gives out positions holds its lock.
create table feed (
  one       boolean primary key default true check (one),
  last      bigint not null default 0,             -- position of the last change that has one
  dropped   bigint not null default 0,             -- position up to which changes were deleted
  published bigint,                                -- position up to which changes went out as events; null while nobody subscribes
  version   bigint not null default 0              -- rises when outcomes of other deliveries than before are to be noted
);
insert into feed default values;

-- Whose deliveries' outcomes are noted as changes, because somebody reads them or has them sent.
create table outcome_readers (
  tenant_key bigint not null,                      -- 0 for all tenants
  source     text not null,                        -- feed, or destinations
  attempts   boolean not null default false,       -- each attempt too
  version    bigint not null,                      -- of the feed: workers that know this one note these outcomes
  since      bigint,                               -- position from which on none is missing; null until all workers know
  asked_at   timestamptz not null default now(),
  primary key (tenant_key, source)
);
alter table processes add column feed_version bigint not null default 0;

-- The owner of the operators' own destinations, which take events about all tenants. No caller can choose such an id.
insert into tenants (id) values ('_operators');

-- Destinations that take the server's own events; few.
create index destinations_own_topics on destinations (tenant_key) where deleted_at is null and topics::text like '%"waybill.%';

-- +goose Down
delete from destinations where tenant_key = (select key from tenants where id = '_operators');
delete from tenants where id = '_operators';
drop index destinations_own_topics;
alter table processes drop column feed_version;
drop table outcome_readers, feed, changes;
