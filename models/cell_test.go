package models

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	_ "github.com/waybill-dev/waybill/adapters/echo"
	"github.com/waybill-dev/waybill/models/modelstest"
	"github.com/waybill-dev/waybill/models/seal"
)

// people are the tables that only home uses.
var people = []string{"users", "sessions", "memberships", "invitations", "identities", "passkeys", "passkey_challenges", "letters",
	"login_tries", "login_steps", "logout_tokens", "recovery_codes", "api_keys", "portal_links", "saved_views", "topics", "topic_mismatches",
	"server_settings", "api_processes", "cells", "tenant_moves"}

func cellKeys(t *testing.T) *seal.Keyring {
	t.Helper()
	keys, err := seal.New("a secret for tests that is long enough")
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func openStore(t *testing.T, o Options) *Store {
	t.Helper()
	o.Keys, o.MaxConns, o.HotConns, o.JobConns = cellKeys(t), 4, 2, 1
	if o.Home == nil {
		o.Rules = DefaultRules()
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// withCell adds a cell to home and opens it. What only home uses is not there in it, so that a wrong use fails.
func withCell(t *testing.T, home *Store, name string) *Store {
	t.Helper()
	url := modelstest.Empty(t)
	c, err := home.AddCell(t.Context(), name, url)
	if err != nil {
		t.Fatal(err)
	}
	db := modelstest.Connect(t, url)
	for _, table := range people {
		if _, err := db.Exec(t.Context(), "alter table "+table+" rename to not_"+table); err != nil {
			t.Fatal(err)
		}
	}
	s := openStore(t, Options{URL: url, Home: home, Cell: name})
	if err := errors.Join(s.IsCell(t.Context(), c), s.KnowPartitions(t.Context()), home.KnowCells(t.Context())); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCellsAreAddedAndRemoved(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	homeURL := modelstest.DB(t)
	home := openStore(t, Options{URL: homeURL})
	refused := func(name, url, why string) {
		t.Helper()
		_, err := home.AddCell(ctx, name, url)
		if e := AsError(err); e.Status() >= 500 || err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want one about %q", name, err, why)
		}
	}
	refused("main", modelstest.Empty(t), "main")
	refused("A b", modelstest.Empty(t), "small letters")
	refused("eu1", "mysql://x", "postgres://")
	refused("eu1", homeURL, "DATABASE_URL")
	refused("eu1", "postgres://127.0.0.1:1/none", "cannot become a cell")
	foreign := modelstest.Empty(t)
	if _, err := modelstest.Connect(t, foreign).Exec(ctx, "create table other (x int)"); err != nil {
		t.Fatal(err)
	}
	refused("eu1", foreign, "not empty")
	other := modelstest.DB(t)
	if _, _, err := openStore(t, Options{URL: other}).PutTenant(ctx, "acme", nil); err != nil {
		t.Fatal(err)
	}
	refused("eu1", other, "begins empty")

	eu1 := withCell(t, home, "eu1")
	refused("eu1", modelstest.Empty(t), "already")
	refused("eu2", eu1.pool.Config().ConnString(), `of the cell "eu1"`)
	if list := home.Cells(); len(list) != 1 || list[0].Name != "eu1" || list[0].Number != 1 || list[0].Address == "" {
		t.Errorf("cells: %+v", list)
	}
	var sealed []byte
	if err := home.pool.QueryRow(ctx, "select address from cells").Scan(&sealed); err != nil || strings.Contains(string(sealed), "postgres") {
		t.Errorf("the address is kept as %q, %v", sealed, err)
	}
	away := openStore(t, Options{URL: modelstest.DB(t)})
	if _, err := away.AddCell(ctx, "eu1", eu1.pool.Config().ConnString()); err == nil || !strings.Contains(err.Error(), "another installation") {
		t.Errorf("a cell of somebody else: %v", err)
	}

	key, at, err := home.PlaceTenant(ctx, "acme", "eu1", Since{})
	if err != nil || at != "eu1" {
		t.Fatal(at, err)
	}
	if err := home.RemoveCell(ctx, "eu1"); !IsKind(err, KindConflict) {
		t.Errorf("a cell with a tenant is removed: %v", err)
	}
	if err := home.DrainCell(ctx, "eu1", true); err != nil {
		t.Fatal(err)
	}
	if err := home.DrainCell(ctx, "nope", true); !IsKind(err, KindNotFound) {
		t.Errorf("drain a cell that there is not: %v", err)
	}
	if err := home.KnowCells(ctx); err != nil || home.Cells()[0].DrainingAt == nil {
		t.Errorf("after draining: %+v, %v", home.Cells(), err)
	}
	if err := home.DeleteTenantAway(ctx, key); err != nil {
		t.Fatal(err)
	}
	if err := home.RemoveCell(ctx, "eu1"); err != nil {
		t.Fatal(err)
	}
	if err := home.KnowCells(ctx); err != nil || home.Cells() != nil {
		t.Errorf("after removing: %+v, %v", home.Cells(), err)
	}
	// The number is not given out again, for keys that it began may be elsewhere.
	c, err := home.AddCell(ctx, "eu2", modelstest.Empty(t))
	if err != nil || c.Number != 2 {
		t.Errorf("the next cell: %+v, %v", c, err)
	}
	if _, _, err := home.PlaceTenant(ctx, "late", "eu1", Since{}); !IsKind(err, KindNotFound) {
		t.Errorf("a tenant is placed in a cell that was removed: %v", err)
	}
}

func TestTenantInACell(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	home := openStore(t, Options{URL: modelstest.DB(t)})
	eu1 := withCell(t, home, "eu1")
	if err := home.PutTopic(ctx, Topic{Name: "order.created", Schema: json.RawMessage(`{"required": ["order"]}`), Enforce: EnforceReject}); err != nil {
		t.Fatal(err)
	}
	key, _, err := home.PlaceTenant(ctx, "acme", "eu1", Since{})
	if err != nil {
		t.Fatal(err)
	}
	created, _, err := eu1.PutTenantAs(ctx, key, "acme", map[string]string{"plan": "pro"}, Since{})
	if err != nil || created.Key != key {
		t.Fatal(created, err)
	}
	d, err := eu1.CreateDestination(ctx, AllTenants(), "acme", DestinationInput{Patch: DestinationPatch{"type": "echo", "topics": "*"}})
	if err != nil {
		t.Fatal(err)
	}
	if d.Key != 1<<cellShift+1 {
		t.Errorf("the first key of a cell is %d", d.Key)
	}
	log := slog.New(slog.DiscardHandler)
	atHome, inCell := NewAccepter(home, nil, log), NewAccepter(eu1, nil, log)
	defer atHome.Close()
	defer inCell.Close()
	event := func(topic, data string) *PublishInput {
		return &PublishInput{TenantID: "acme", Topic: topic, Data: json.RawMessage(data)}
	}
	if _, err := inCell.Publish(ctx, event("order.created", `{"order": 1}`)); err != nil {
		t.Errorf("publish to the cell: %v", err)
	}
	if _, err := inCell.Publish(ctx, event("order.created", `{}`)); !IsKind(err, KindInvalid) {
		t.Errorf("a payload that home's schema refuses: %v", err)
	}
	if _, err := inCell.Publish(ctx, event("order.cancelled", `{}`)); !IsKind(err, KindInvalid) {
		t.Errorf("a topic that home's catalogue has not: %v", err)
	}
	if err := home.PutTopic(ctx, Topic{Name: "order.cancelled"}); err != nil {
		t.Fatal(err)
	}
	home.catalogue.mu.Lock()
	home.catalogue.at = time.Time{} // names are believed for a moment
	home.catalogue.mu.Unlock()
	if _, err := inCell.Publish(ctx, event("order.cancelled", `{}`)); err != nil {
		t.Errorf("a topic that is new: %v", err)
	}
	var gone *ElsewhereError
	if _, err := atHome.Publish(ctx, event("order.created", `{"order": 1}`)); !errors.As(err, &gone) || gone.Cell != "eu1" {
		t.Errorf("publish to home: %v", err)
	}
	if _, _, err := home.PutTenant(ctx, "acme", nil); !errors.As(err, &gone) {
		t.Errorf("put at home: %v", err)
	}

	// Home has a copy of metadata and settings.
	limit := 5
	if _, err := eu1.UpdateTenantSettings(ctx, AllTenants(), "acme", TenantSettings{EventsPerSecond: &limit}); err != nil {
		t.Fatal(err)
	}
	row, err := home.Tenant(ctx, AllTenants(), "acme")
	if err != nil || row.Metadata["plan"] != "pro" || row.Settings.EventsPerSecond == nil || eu1.TenantIntake("acme").Events != 5 {
		t.Errorf("home's row: %+v, %v; limits %+v", row, err, eu1.TenantIntake("acme"))
	}

	// While it is held, and once it has gone, nothing is written.
	if _, err := eu1.pool.Exec(ctx, "update tenants set held_until = now() + interval '1 hour'"); err != nil {
		t.Fatal(err)
	}
	var held *HeldError
	if _, err := inCell.Publish(ctx, event("order.created", `{"order": 1}`)); !errors.As(err, &held) {
		t.Errorf("publish while held: %v", err)
	}
	write := func() error {
		return eu1.InTx(eu1.Guard(ctx, "acme"), func(*Tx) error { return nil })
	}
	if err := write(); !errors.As(err, &held) {
		t.Errorf("write while held: %v", err)
	}
	if _, err := eu1.pool.Exec(ctx, "update tenants set held_until = null, cell = 'main'"); err != nil {
		t.Fatal(err)
	}
	if err := write(); !errors.As(err, &gone) || gone.Cell != "" {
		t.Errorf("write after it has gone: %v", err)
	}
	if _, err := eu1.Tenant(ctx, AllTenants(), "acme"); !errors.As(err, &gone) {
		t.Errorf("read after it has gone: %v", err)
	}
	if _, err := eu1.pool.Exec(ctx, "update tenants set cell = null"); err != nil {
		t.Fatal(err)
	}
	if _, err := eu1.Upkeep(ctx, time.Now()); err != nil {
		t.Errorf("upkeep: %v", err)
	}
	if err := eu1.Ready(ctx); err != nil {
		t.Errorf("ready: %v", err)
	}
}

// What breaks off between home and a cell is mended.
func TestMendCell(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	home := openStore(t, Options{URL: modelstest.DB(t)})
	eu1 := withCell(t, home, "eu1")
	keys := map[string]int64{}
	for _, id := range []string{"missing", "deleted", "changed", "fine"} {
		key, _, err := home.PlaceTenant(ctx, id, "eu1", Since{})
		if err != nil {
			t.Fatal(err)
		}
		if keys[id] = key; id == "missing" {
			continue
		}
		if _, _, err := eu1.PutTenantAs(ctx, key, id, nil, Since{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := eu1.DeleteTenant(ctx, AllTenants(), "deleted"); err != nil {
		t.Fatal(err)
	}
	if _, err := eu1.pool.Exec(ctx, `update tenants set metadata = '{"a": "b"}', updated_at = now() where id = 'changed'`); err != nil {
		t.Fatal(err)
	}
	if n, err := eu1.MendCell(ctx); err != nil || n != 0 {
		t.Errorf("at once, %d are mended, %v: somebody may still be at it", n, err)
	}
	if _, err := home.pool.Exec(ctx, "update tenants set created_at = created_at - interval '1 hour'"); err != nil {
		t.Fatal(err)
	}
	if n, err := eu1.MendCell(ctx); err != nil || n != 3 {
		t.Errorf("%d are mended, %v, want 3", n, err)
	}
	if n, err := eu1.MendCell(ctx); err != nil || n != 0 {
		t.Errorf("once more, %d are mended, %v", n, err)
	}
	if made, err := eu1.Tenant(ctx, AllTenants(), "missing"); err != nil || made.Key != keys["missing"] {
		t.Errorf("the one that was missing: %+v, %v", made, err)
	}
	if _, err := home.Tenant(ctx, AllTenants(), "deleted"); !IsKind(err, KindNotFound) {
		t.Errorf("the one that was deleted: %v", err)
	}
	if row, err := home.Tenant(ctx, AllTenants(), "changed"); err != nil || row.Metadata["a"] != "b" {
		t.Errorf("the one that was changed: %+v, %v", row, err)
	}
}

func TestPlacesAreForgotten(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	home := openStore(t, Options{URL: modelstest.DB(t)})
	withCell(t, home, "eu1")
	at := func(id string) string {
		t.Helper()
		cell, err := home.Place(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		return cell
	}
	if at("acme") != "" {
		t.Error("a tenant that there is not is somewhere")
	}
	if _, _, err := home.PlaceTenant(ctx, "acme", "eu1", Since{}); err != nil {
		t.Fatal(err)
	}
	if at("acme") != "eu1" {
		t.Error("a tenant is not where it was placed")
	}
	// As a move does in another process.
	if err := home.InTx(ctx, func(tx *Tx) error {
		if _, err := tx.Exec(ctx, "update tenants set cell = null where id = 'acme'"); err != nil {
			return err
		}
		return noteCells(ctx, tx)
	}); err != nil {
		t.Fatal(err)
	}
	if at("acme") != "eu1" {
		t.Error("places are not remembered")
	}
	if err := home.KnowCells(context.Background()); err != nil || at("acme") != "" {
		t.Errorf("the tenant that has gone home is at %q, %v", at("acme"), err)
	}
}
