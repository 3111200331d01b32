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

-- +goose Down
drop table destination_waits;
