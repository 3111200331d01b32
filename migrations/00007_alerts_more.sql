-- +goose Up
-- Until when the certificate is valid that a destination showed last: null for none, or not known yet. certificate_at is
-- from when that is; what attempts saw that were started before does not count.
alter table health_deltas add column certificate_ends timestamptz, add column certificate_at timestamptz;
alter table destination_health add column certificate_ends timestamptz, add column certificate_at timestamptz;
create index destination_health_certificate on destination_health (certificate_ends) where certificate_ends is not null;

-- One more rule that everybody has; models.defaultRules has it for tenants to come.
insert into alert_rules (owner_key, id, name, condition, kind, every_seconds)
select o.key, 'rule_' || o.key || '_certificate_expires', 'Certificate expiring', '{"certificate_expires": "14d"}', 'certificate_expires', 86400
from (select 0::bigint as key union all select key from tenants where deleted_at is null) o;

-- Addresses of an e-mail channel whose owners do not want its notices any more.
create table channel_unsubscribes (
  channel_key bigint not null references channels (key) on delete cascade,
  address     text not null,                       -- as the channel names it
  created_at  timestamptz not null default now(),
  primary key (channel_key, address)
);

-- Alerts that somebody ended although their condition was still met: until it is over none begins in their place.
alter table alerts add column resolved_by text not null default '', add column quiet boolean not null default false;
create unique index alerts_quiet on alerts (rule_key, destination_key) where quiet;

-- +goose Down
alter table alerts drop column resolved_by, drop column quiet;
drop table channel_unsubscribes;
delete from alert_rules where kind = 'certificate_expires';
alter table destination_health drop column certificate_ends, drop column certificate_at;
alter table health_deltas drop column certificate_ends, drop column certificate_at;
