package models

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/adapters/notify"
)

// ownPrefix begins the topics of the server's own events.
const ownPrefix = "waybill."

// OwnTopics lists the topics of the server's own events: that of alerts, and those of changes.
var OwnTopics = ownTopics()

func ownTopics() []string {
	out := []string{notify.Topic}
	for _, t := range FeedTypes {
		for _, action := range FeedActions[t] {
			out = append(out, ownPrefix+t+"."+action)
		}
	}
	return out
}

// namesOwn reports whether one of the subscriptions takes a topic of the server's own by name, or by a pattern of such
// names. Who subscribes to all topics wants the platform's events.
func namesOwn(subscriptions []string, topic string) bool {
	return slices.ContainsFunc(subscriptions, func(s string) bool { return OwnTopic(s) && Subscribes([]string{s}, topic) })
}

// OwnTopic reports whether a topic is for the server's own events.
func OwnTopic(topic string) bool { return strings.HasPrefix(topic, ownPrefix) }

// OwnEvent reports whether an event is one of the server's own: of its topics, or for the operators.
func OwnEvent(tenantID, topic string) bool { return OwnTopic(topic) || tenantID == OperatorTenant }

// Topic is an entry of the catalogue of topics.
type Topic struct {
	Name        string
	Description string
	Example     json.RawMessage // a payload, for tests and documentation; null for none
	Schema      json.RawMessage // JSON Schema of payloads; null for none
	Enforce     string          // what happens to an event that does not match: one of Enforcements
	CreatedAt   time.Time
	FromEnv     bool // set by TOPICS, and not to be changed here
	Mismatches  Mismatches
}

// Mismatches tells of the events that did not match a topic's schema, since it was last changed.
type Mismatches struct {
	Warned, Refused int64
	LastAt          time.Time
	LastWhy         string // where in the payload, and which rule
}

// TopicCatalogue lists the topics of the catalogue, those of the environment first. An empty catalogue means that any
// topic may be published.
func (s *Store) TopicCatalogue(ctx context.Context) ([]Topic, error) {
	s = s.root()
	rows, err := s.pool.Query(ctx,
		`select name, description, example, schema, enforce, created_at, coalesce(warned, 0), coalesce(refused, 0), coalesce(last_at,
			created_at), coalesce(last_why, '')
		from topics left join topic_mismatches on topic = name order by name`)
	if err != nil {
		return nil, err
	}
	stored, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (t Topic, err error) {
		err = r.Scan(&t.Name, &t.Description, &t.Example, &t.Schema, &t.Enforce, &t.CreatedAt, &t.Mismatches.Warned, &t.Mismatches.Refused,
			&t.Mismatches.LastAt, &t.Mismatches.LastWhy)
		return t, err
	})
	if err != nil {
		return nil, err
	}
	var out []Topic
	for _, name := range s.Rules().Topics {
		t := Topic{Name: name, FromEnv: true}
		if i := slices.IndexFunc(stored, func(x Topic) bool { return x.Name == name }); i >= 0 {
			t = stored[i]
			t.FromEnv = true
			stored = slices.Delete(stored, i, i+1)
		}
		out = append(out, t)
	}
	return append(out, stored...), nil
}

// Topic returns one topic of the catalogue.
func (s *Store) Topic(ctx context.Context, name string) (*Topic, error) {
	list, err := s.TopicCatalogue(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list, func(t Topic) bool { return t.Name == name })
	if i < 0 {
		return nil, notFound("There is no topic %q in the catalogue.", cut(name, 80))
	}
	return &list[i], nil
}

// TopicNames lists the names of the catalogue; none means that any topic may be published.
func (s *Store) TopicNames(ctx context.Context) ([]string, error) {
	topics, err := s.TopicCatalogue(ctx)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(topics))
	for i, t := range topics {
		names[i] = t.Name
	}
	return names, nil
}

// PutTopic adds a topic to the catalogue, or changes its description or example.
func (s *Store) PutTopic(ctx context.Context, t Topic) error {
	s = s.root()
	bad := problems{}
	if t.Name == "" {
		bad.add("name", "is required")
	} else {
		checkTopic("name", t.Name, bad)
	}
	checkText("description", t.Description, 1000, bad)
	if len(t.Example) == 0 {
		t.Example = nil // an empty form field
	} else if !json.Valid(t.Example) {
		bad.add("example", "must be JSON")
	}
	if len(t.Schema) == 0 || string(t.Schema) == "null" {
		t.Schema = nil
	}
	if t.Enforce = cmp.Or(t.Enforce, EnforceWarn); !slices.Contains(Enforcements, t.Enforce) {
		bad.add("enforce", "must be off, warn or reject")
	}
	t.checkSchema(bad)
	if err := bad.err(); err != nil {
		return err
	}
	before := &Topic{}
	err := s.InTx(ctx, func(tx *Tx) error {
		err := tx.QueryRow(ctx, "select description, example, schema, enforce from topics where name = $1 for update",
			t.Name).Scan(&before.Description, &before.Example, &before.Schema, &before.Enforce)
		created, action := errors.Is(err, pgx.ErrNoRows), "topic.update"
		if err != nil && !created {
			return err
		}
		if created {
			action = "topic.create"
		}
		_, err = tx.Exec(ctx, `insert into topics (name, description, example, schema, enforce) values ($1, $2, $3, $4, $5)
			on conflict (name) do update set description = excluded.description, example = excluded.example, schema = excluded.schema,
				enforce = excluded.enforce`,
			t.Name, t.Description, textOrNil(string(t.Example)), textOrNil(string(t.Schema)), t.Enforce)
		if err == nil && (string(before.Schema) != string(t.Schema) || before.Enforce != t.Enforce) {
			_, err = tx.Exec(ctx, "delete from topic_mismatches where topic = $1", t.Name)
		}
		if err != nil {
			return err
		}
		changes := before.snapshot().changes(t.snapshot())
		if err := tx.Audit(ctx, AuditEntry{Scope: AllTenants(), Action: action, Object: t.Name, Changes: changes}); err != nil ||
			!created && len(changes) == 0 {
			return err
		}
		return noteTopic(ctx, tx, &t, created, changes)
	})
	if err != nil {
		return err
	}
	return s.knowTopics(ctx)
}

// knowTopics takes over in this process what was changed; others do so by themselves.
func (s *Store) knowTopics(ctx context.Context) error {
	if s.Cells() != nil {
		if err := s.catalogue.read(ctx, s); err != nil {
			return err
		}
	}
	return s.schemas.read(ctx, s)
}

// DeleteTopic takes a topic out of the catalogue. Subscriptions to it stay.
func (s *Store) DeleteTopic(ctx context.Context, name string) error {
	s = s.root()
	if slices.Contains(s.Rules().Topics, name) {
		return conflict("The topic %q is set by TOPICS in the environment. Remove it there.", name)
	}
	err := s.InTx(ctx, func(tx *Tx) error {
		tag, err := tx.Exec(ctx, "delete from topics where name = $1", name)
		if err == nil && tag.RowsAffected() == 0 {
			return notFound("There is no topic %q in the catalogue.", cut(name, 80))
		}
		if err == nil {
			_, err = tx.Exec(ctx, "delete from topic_mismatches where topic = $1", name)
		}
		if err != nil {
			return err
		}
		if err := noteDeleted(ctx, tx, 0, FeedTopic, name); err != nil {
			return err
		}
		return tx.Audit(ctx, AuditEntry{Scope: AllTenants(), Action: "topic.delete", Object: name})
	})
	if err != nil {
		return err
	}
	return s.knowTopics(ctx)
}

// CheckCatalogue reports what is wrong with names of topics that the environment gives.
func CheckCatalogue(names []string) error {
	for _, n := range names {
		bad := problems{}
		checkTopic("", n, bad)
		switch {
		case n == AllTopics:
			return errors.New("must name topics; leave it empty to allow any topic")
		case bad[""] != "":
			return fmt.Errorf("%q %s", cut(n, 80), bad[""])
		}
	}
	return nil
}
