package models

import (
	"errors"
	"testing"
)

// What is to happen after the commit finds it done, and does not happen without it.
func TestAfterCommit(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	add := func(tx *Tx, name string) error {
		_, err := tx.Exec(ctx, "insert into topics (name, description, enforce) values ($1, '', 'off')", name)
		return err
	}
	var seen []string
	look := func() {
		names, err := s.TopicNames(ctx)
		if err != nil {
			t.Error(err)
		}
		seen = append(seen, names...)
	}
	err := s.InTx(ctx, func(tx *Tx) error {
		tx.AfterCommit(look)
		return add(tx, "a")
	})
	if err != nil || len(seen) != 1 || seen[0] != "a" {
		t.Errorf("after the commit: %v, %v; want a", seen, err)
	}
	no := errors.New("no")
	err = s.InTx(ctx, func(tx *Tx) error {
		tx.AfterCommit(func() { t.Error("called without a commit") })
		if err := add(tx, "b"); err != nil {
			return err
		}
		return no
	})
	if seen = nil; !errors.Is(err, no) {
		t.Errorf("got %v, want what the function returned", err)
	}
	if look(); len(seen) != 1 {
		t.Errorf("after a rollback: %v", seen)
	}
	// GORM writes over the same connection: neither face can end the transaction by itself.
	err = s.InTx(ctx, func(tx *Tx) error {
		if err := add(tx, "c"); err != nil {
			return err
		}
		var n int64
		if err := tx.DB.Table("topics").Where("name = 'c'").Count(&n).Error; err != nil || n != 1 {
			t.Errorf("GORM sees %d rows, %v; want the one that SQL has written", n, err)
		}
		if tx.Commit(ctx) == nil || tx.Rollback(ctx) == nil {
			t.Error("the transaction was ended from within")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
