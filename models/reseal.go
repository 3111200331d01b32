package models

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/seal"
)

// sealedColumn is a column of sealed values, and how its rows are found.
type sealedColumn struct {
	what          string // its rows, for people
	table, column string
	key           []keyColumn // of the primary key
	context       string      // SQL that makes what a row's value is sealed for, as its sealContext does
	gone          string      // SQL that tells rows that nobody opens again
	together      int         // rows of one transaction: 1 where others lock several rows at a time, in orders of their own
}

type keyColumn struct{ name, typ string }

// sealedColumns are all there are. A new one must be added here, or a rotated SECRET_KEY could not be taken away.
var sealedColumns = []sealedColumn{
	{"destinations", "destinations", "credentials", []keyColumn{{"key", "bigint"}}, "'destination ' || tenant_key || ' ' || id",
		"deleted_at is not null", 1},
	{"channels", "channels", "secrets", []keyColumn{{"key", "bigint"}}, "'channel ' || owner_key || ' ' || id",
		"deleted_at is not null", 1},
	{"answers to requests with an Idempotency-Key", "idempotency_keys", "answer", []keyColumn{{"caller", "bytea"}, {"key", "text"}},
		"'idempotency ' || encode(caller, 'hex') || ' ' || key", "expires_at < now()", 100},
	{"secrets of second factors", "users", "totp_secret", []keyColumn{{"id", "uuid"}}, "'totp ' || id", "false", 1},
	{"keys of payloads", payloadKeysTable, "sealed", []keyColumn{{"id", "bigint"}}, "'payload key ' || id || ' ' || tenant_key", "false", 1},
	{"addresses of cells", "cells", "address", []keyColumn{{"number", "smallint"}}, "'cell ' || number", "false", 1},
	{"links of mails that wait", "letters", "token", []keyColumn{{"id", "uuid"}}, "'letter ' || id", "status <> 'waiting'", 100},
}

// SealedColumns are all columns with sealed values, as "table.column".
func SealedColumns() (names []string) {
	for _, c := range sealedColumns {
		names = append(names, c.table+"."+c.column)
	}
	return names
}

// SealedRows are the rows of one kind that hold sealed values.
type SealedRows struct {
	What    string
	All     int
	Old     int // sealed with another key than the one in force
	Unknown int // of these, with one that the store does not have
}

// Sealed counts what is sealed, by kind of rows.
func (s *Store) Sealed(ctx context.Context) (list []SealedRows, err error) {
	err = s.beforeEnd(ctx, func(tx pgx.Tx) error {
		for _, c := range sealedColumns {
			db, there, err := s.sealedIn(ctx, c, tx)
			if err != nil {
				return err
			}
			if !there {
				list = append(list, SealedRows{What: c.what})
				continue
			}
			rows, err := db.Query(ctx, "select substring("+c.column+" for $1), "+c.gone+", count(*) from "+c.table+" where "+c.column+
				" is not null group by 1, 2", seal.PrefixLength)
			if err != nil {
				return err
			}
			of := SealedRows{What: c.what}
			var prefix []byte
			var over bool
			var n int
			if _, err := pgx.ForEachRow(rows, []any{&prefix, &over, &n}, func() error {
				of.All += n
				if !bytes.Equal(prefix, s.Keys.CurrentPrefix()) {
					of.Old += n
				}
				if !s.Keys.Has(prefix) {
					if over {
						of.Old -= n
					} else {
						of.Unknown += n
					}
				}
				return nil
			}); err != nil {
				return err
			}
			list = append(list, of)
		}
		return nil
	})
	return list, err
}

// ResealProgress is how far sealing anew has come.
type ResealProgress struct {
	What  string // rows of which kind
	Done  int    // of them, sealed anew
	Of    int    // that were to be, when it began
	Shut  int    // that could not be opened, and stay as they are
	Other int    // that somebody else changed meanwhile
}

// Reseal seals everything with the key in force that is sealed with an older one, while servers work. It can be broken off and
// begun again, and run twice at a time: what is sealed with the key in force is left alone, and so is what changes meanwhile.
// tell is called after each transaction.
func (s *Store) Reseal(ctx context.Context, tell func(ResealProgress)) error {
	if err := s.CheckKey(ctx); err != nil {
		return err
	}
	list, err := s.Sealed(ctx)
	if err != nil {
		return err
	}
	for i, c := range sealedColumns {
		if c.table == payloadKeysTable && list[i].All == 0 { // perhaps there is no such table
			tell(ResealProgress{What: c.what})
			continue
		}
		if err := s.reseal(ctx, c, ResealProgress{What: c.what, Of: list[i].Old}, tell); err != nil {
			return fmt.Errorf("seal %s anew: %w", c.what, err)
		}
	}
	return s.KeepKey(ctx)
}

// old is a row to be sealed anew.
type old struct {
	key     []string
	context string
	sealed  []byte
}

// sealedIn returns where a column is: tx or, with PAYLOAD_KEYS_DATABASE_URL, the database of the keys. there is false when there are no
// keys, because there never was one.
func (s *Store) sealedIn(ctx context.Context, c sealedColumn, tx batcherOf) (db batcherOf, there bool, err error) {
	if c.table != payloadKeysTable {
		return tx, true, nil
	}
	if s.payloads.separate {
		if tx, err = s.payloads.db(); err != nil {
			return nil, false, err
		}
	}
	err = tx.QueryRow(ctx, "select to_regclass($1) is not null", payloadKeysTable).Scan(&there)
	return tx, there, err
}

// batcherOf is a pool or a transaction.
type batcherOf interface {
	querier
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

func (s *Store) reseal(ctx context.Context, c sealedColumn, p ResealProgress, tell func(ResealProgress)) error {
	var after []string
	for {
		list, err := s.oldRows(ctx, c, after)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			tell(p)
			return nil
		}
		after = list[len(list)-1].key
		for len(list) > 0 {
			n := min(c.together, len(list))
			if err := s.resealRows(ctx, c, list[:n], &p); err != nil {
				return err
			}
			list = list[n:]
			tell(p)
		}
	}
}

// oldRows reads the next rows after a key that are sealed with an older one.
func (s *Store) oldRows(ctx context.Context, c sealedColumn, after []string) ([]old, error) {
	q := newQuery()
	q.and(c.column + " is not null")
	q.and("substring("+c.column+" for ?) <> ?", seal.PrefixLength, s.Keys.CurrentPrefix())
	names, texts, values := make([]string, len(c.key)), make([]string, len(c.key)), make([]string, len(c.key))
	args := make([]any, len(after))
	for i, k := range c.key {
		names[i], texts[i], values[i] = k.name, k.name+"::text", "?::text::"+k.typ
		if after != nil {
			args[i] = after[i]
		}
	}
	if after != nil {
		q.and("("+strings.Join(names, ", ")+") > ("+strings.Join(values, ", ")+")", args...)
	}
	db, _, err := s.sealedIn(ctx, c, s.pool)
	if err != nil {
		return nil, err
	}
	rows, err := db.Query(ctx, "select array["+strings.Join(texts, ", ")+"], "+c.context+", "+c.column+" from "+c.table+q.sql()+
		" order by "+strings.Join(names, ", ")+" limit 100", q.args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (o old, err error) {
		err = r.Scan(&o.key, &o.context, &o.sealed)
		return o, err
	})
}

// resealRows seals rows anew, in one transaction.
func (s *Store) resealRows(ctx context.Context, c sealedColumn, list []old, p *ResealProgress) error {
	b := &pgx.Batch{}
	for _, o := range list {
		plain, err := s.Keys.Open(o.sealed, o.context)
		if err != nil {
			if !errors.Is(err, seal.ErrUnknownKey) {
				return err // it does not belong there
			}
			p.Shut++
			continue
		}
		args := []any{s.Keys.Seal(plain, o.context), o.sealed}
		where := ""
		for i, k := range c.key {
			args = append(args, o.key[i])
			where += fmt.Sprintf(" and %s = $%d::text::%s", k.name, len(args), k.typ)
		}
		b.Queue("update "+c.table+" set "+c.column+" = $1 where "+c.column+" = $2"+where, args...)
	}
	if b.Len() == 0 {
		return nil
	}
	db, _, err := s.sealedIn(ctx, c, s.pool)
	if err != nil {
		return err
	}
	br := db.SendBatch(ctx, b)
	for range b.Len() {
		tag, err := br.Exec()
		if err != nil {
			_ = br.Close() // says the same
			return err
		}
		p.Done += int(tag.RowsAffected())
		p.Other += 1 - int(tag.RowsAffected())
	}
	return br.Close()
}

// checkSealed says how much still needs a key of SECRET_KEY_PREVIOUS.
func (s *Store) checkSealed(ctx context.Context, f *findings) error {
	list, err := s.Sealed(ctx)
	if err != nil {
		return err
	}
	var old []string
	for i, r := range list {
		if n := r.Old - r.Unknown; n > 0 {
			old = append(old, fmt.Sprintf("%d of %d %s", n, r.All, r.What))
		}
		if r.Unknown == 0 || i == 0 { // of destinations checkSecrets tells more
			continue
		}
		level, advice := LevelFail, "Set the key that sealed them in SECRET_KEY_PREVIOUS, or enter them again."
		if sealedColumns[i].together > 1 {
			level, advice = LevelWarn, "Set the key that sealed them in SECRET_KEY_PREVIOUS. They are forgotten after 24 hours."
		}
		f.add("secrets", level, fmt.Sprintf("SECRET_KEY does not open %d of %d %s.", r.Unknown, r.All, r.What), advice)
	}
	if len(old) > 0 {
		f.add("secrets", LevelOK, "Sealed with a key of SECRET_KEY_PREVIOUS, which is therefore still needed: "+strings.Join(old, ", ")+
			". `waybill reseal` seals them with SECRET_KEY.", "")
	}
	return nil
}
