-- +goose Up

-- Why deliveries to a destination that are due are not made yet, as the worker sees it that put some off last: for those who
-- look at them. Workers neither read nor need it, and write it every ten seconds at most.
create table destination_waits (
  destination_key bigint primary key,
  why             text not null,                       -- asked, eased, failing, limited, slow or short
  until           timestamptz,                         -- with asked, eased and short: when it goes on
  rate            real,                                -- with the others: how many are made in a second
  seen_at         timestamptz not null default now()
) with (fillfactor = 50);

-- Of attempts that failed: what the worker logged of it, line by line, and that the request never went out. Null otherwise, so
-- that attempts that succeed take no more room.
alter table attempts add column log text;
alter table attempts add column not_sent boolean;

-- +goose Down
alter table attempts drop column not_sent;
alter table attempts drop column log;
drop table destination_waits;
