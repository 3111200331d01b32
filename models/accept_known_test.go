package models

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/pgcopy"
)

// TestAcceptsByWhatIs changes a tenant, its destinations and the topics in one process, while another one accepts events by what it has
// read before. Every event goes where it is to go at its time, and is refused when it is to be.
func TestAcceptsByWhatIs(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	other := newStore(t)
	s, err := Open(ctx, Options{URL: other.pool.Config().ConnString(), Keys: other.Keys, Rules: DefaultRules(), MaxConns: 2, HotConns: 1,
		JobConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.KnowPartitions(ctx); err != nil {
		t.Fatal(err)
	}
	a := NewAccepter(s, nil, slog.New(slog.DiscardHandler))
	t.Cleanup(a.Close)
	published := 0
	publish := func(topic string) ([]string, error) {
		in := &PublishInput{TenantID: "acme", Topic: topic, Data: []byte(`{}`)}
		if published%2 == 1 {
			in.ID = fmt.Sprint("event-", published)
		}
		res, err := a.Publish(ctx, in)
		if err == nil {
			published++
			if in.ID != "" {
				again, err := a.Publish(ctx, in)
				if err != nil || !again.Duplicate || !slices.Equal(again.DestinationIDs, res.DestinationIDs) {
					t.Errorf("publishing %s once more: %+v, %v; before %+v", in.ID, again, err, res)
				}
			}
		}
		return res.DestinationIDs, err
	}
	goesTo := func(want ...string) {
		t.Helper()
		for range 2 { // the second time by what the first one has read
			got, err := publish("order.created")
			if err != nil {
				t.Fatal(err)
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("it goes to %q, and should go to %q", got, want)
			}
		}
	}
	refused := func(topic string) {
		t.Helper()
		for range 2 {
			if _, err := publish(topic); err == nil {
				t.Errorf("%s was accepted", topic)
			}
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	create := func(id string) *Destination {
		t.Helper()
		d, err := other.CreateDestination(ctx, AllTenants(), "acme", DestinationInput{Patch: DestinationPatch{"id": id, "type": "echo",
			"topics": "*"}})
		must(err)
		return d
	}

	_, _, err = other.PutTenant(ctx, "acme", nil)
	must(err)
	goesTo()
	create("one")
	goesTo("one")
	two := create("two")
	goesTo("one", "two")
	must(other.PutTopic(ctx, Topic{Name: "order.paid"}))
	refused("order.created")
	must(other.PutTopic(ctx, Topic{Name: "order.created"}))
	goesTo("one", "two")
	must(other.DeleteTopic(ctx, "order.paid"))
	refused("order.paid")
	must(other.PutTopic(ctx, Topic{Name: "order.paid"}))
	must(other.DeleteTopic(ctx, "order.created"))
	refused("order.created")
	must(other.DeleteTopic(ctx, "order.paid"))
	goesTo("one", "two")
	_, err = other.UpdateDestination(ctx, AllTenants(), "acme", "two", two.Version, DestinationInput{Patch: DestinationPatch{"topics": []any{"order.paid"}}})
	must(err)
	goesTo("one")
	must(other.DeleteTenant(ctx, AllTenants(), "acme"))
	refused("order.created")
	_, _, err = other.PutTenant(ctx, "acme", nil)
	must(err)
	create("three")
	goesTo("three")

	var events int
	must(s.pool.QueryRow(ctx, "select count(*) from events where topic <> '' and data is not null").Scan(&events))
	if events != published {
		t.Errorf("%d events are kept of %d that were accepted", events, published)
	}
}

func copyOf(into string, rows int) []pgcopy.Copy {
	c := &pgcopy.Rows{}
	c.Reset()
	for n := range rows {
		c.Row(1)
		c.Int8(int64(n))
	}
	return []pgcopy.Copy{{Into: into, Rows: c}}
}

// TestStaleWritesNothing: a transaction that takes something for granted which is not so leaves nothing, and its connection is of use,
// with a few rows and with many.
func TestStaleWritesNothing(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newStore(t)
	if _, err := s.Hot.Exec(ctx, "create table kept (n bigint, name text not null default 'none')"); err != nil {
		t.Fatal(err)
	}
	for _, rows := range []int{1, 4, 5, 1000} {
		for _, holds := range []bool{false, true, false} {
			t.Run(fmt.Sprintf("%d rows, %v", rows, holds), func(t *testing.T) {
				err := s.inHotTx(ctx, func(tx *hotTx) error {
					tx.first = &pgx.Batch{}
					tx.begin(tx.first)
					tx.first.Queue(orStale("$1::bool"), holds)
					return tx.commit(ctx, copyOf("kept (n)", rows), nil)
				})
				want := 0
				if holds {
					want = rows
				} else if err != errStale {
					t.Errorf("it ends with %v", err)
				}
				if holds && err != nil {
					t.Error(err)
				}
				var kept int
				if err := s.Hot.QueryRow(ctx, "with gone as (delete from kept where name = 'none' returning n) select count(*) from gone").Scan(&kept); err != nil {
					t.Fatal(err)
				}
				if kept != want {
					t.Errorf("%d rows are kept of %d", kept, want)
				}
			})
		}
	}
}
