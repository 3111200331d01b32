package models

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// What happens to an event whose payload is not as its topic's schema asks.
const (
	EnforceOff    = "off"    // nothing; the schema is for those who read it
	EnforceWarn   = "warn"   // it is accepted, counted, and the answer says so
	EnforceReject = "reject" // it is refused
)

// Enforcements are the words for that.
var Enforcements = []string{EnforceOff, EnforceWarn, EnforceReject}

// What a schema may take up, and how many mistakes of one payload are told.
const (
	maxSchema     = 128 << 10
	maxMismatches = 10
)

// schemasEvery is how often a process looks for schemas that others have changed, and writes down what it has counted.
const schemasEvery = time.Second

// topicSchema is a topic's schema, compiled.
type topicSchema struct {
	text, enforce string
	compiled      *jsonschema.Schema
}

// topicSchemas are the schemas that events are held against. While there are none, an event costs one look at a pointer.
type topicSchemas struct {
	inForce atomic.Pointer[map[string]*topicSchema]

	mu      sync.Mutex
	counted map[string]*Mismatches // since they were last written down
}

// elsewhere refuses to fetch what a schema refers to outside of itself.
type elsewhere struct{}

func (elsewhere) Load(url string) (any, error) {
	return nil, fmt.Errorf("%s cannot be referred to: a schema must hold all that it needs, under $defs", url)
}

// compileSchema reads a JSON Schema, of draft 2020-12 unless it names another.
func compileSchema(text []byte) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, errors.New("must be JSON: " + err.Error())
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(elsewhere{})
	const address = "schema.json"
	if err := c.AddResource(address, doc); err != nil {
		return nil, err
	}
	compiled, err := c.Compile(address)
	var wrong *jsonschema.SchemaValidationError
	var invalid *jsonschema.ValidationError
	if errors.As(err, &wrong) && errors.As(wrong.Err, &invalid) {
		return nil, errors.New("is not a JSON Schema: " + strings.Join(mismatchesOf(invalid), "; "))
	}
	if err != nil {
		return nil, errors.New("is not a JSON Schema: " + cut(strings.ReplaceAll(err.Error(), "\n", " "), 300))
	}
	return compiled, nil
}

// checkSchema reports what is wrong with a topic's schema, and whether its example is not as that asks.
func (t *Topic) checkSchema(bad problems) {
	if len(t.Schema) == 0 {
		return
	}
	if len(t.Schema) > maxSchema {
		bad.add("schema", fmt.Sprintf("must be at most %d bytes long", maxSchema))
		return
	}
	compiled, err := compileSchema(t.Schema)
	if err != nil {
		bad.add("schema", err.Error())
		return
	}
	if len(t.Example) == 0 || string(t.Example) == "null" || bad["example"] != "" {
		return
	}
	if why := validate(compiled, t.Example); len(why) > 0 {
		bad.add("example", "is not as the schema asks: "+strings.Join(why, "; "))
	}
}

// validate says where a payload is not as the schema asks.
func validate(s *jsonschema.Schema, data []byte) []string {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return []string{err.Error()}
	}
	var invalid *jsonschema.ValidationError
	if err := s.Validate(doc); errors.As(err, &invalid) {
		return mismatchesOf(invalid)
	} else if err != nil {
		return []string{err.Error()}
	}
	return nil
}

var english = message.NewPrinter(language.English)

// mismatchesOf lists the mistakes at the ends of the tree: "data.items.0.price: got string, want number (rule properties/…)".
func mismatchesOf(e *jsonschema.ValidationError) []string {
	var out []string
	var walk func(*jsonschema.ValidationError)
	walk = func(e *jsonschema.ValidationError) {
		if len(e.Causes) > 0 {
			for _, c := range e.Causes {
				walk(c)
			}
			return
		}
		path := strings.Join(append([]string{"data"}, e.InstanceLocation...), ".")
		text := cut(path, 200) + ": " + cut(e.ErrorKind.LocalizedString(english), 200)
		if rule := strings.Join(e.ErrorKind.KeywordPath(), "/"); rule != "" && !strings.Contains(text, ": "+rule+": ") {
			text += " (" + cut(rule, 80) + ")"
		}
		if len(out) < maxMismatches && !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	walk(e)
	return out
}

// check holds an event against the schema of its topic. It returns what is wrong where that is accepted, and an error
// where it is not. Tests, and the server's own events, are not held against anything.
func (t *topicSchemas) check(in *PublishInput) ([]string, error) {
	all := t.inForce.Load()
	if all == nil || in.Trigger == TriggerTest || in.Ours {
		return nil, nil
	}
	s := (*all)[in.Topic]
	if s == nil {
		return nil, nil
	}
	why := validate(s.compiled, in.Data)
	if len(why) == 0 {
		return nil, nil
	}
	t.count(in.Topic, s.enforce, why[0])
	if s.enforce != EnforceReject {
		return why, nil
	}
	fields := map[string]string{}
	for _, w := range why {
		path, text, _ := strings.Cut(w, ": ")
		if fields[path] == "" {
			fields[path] = text
		}
	}
	return nil, &Error{Kind: KindInvalid, Fields: fields, Message: fmt.Sprintf("The payload is not as the schema of %q asks: %s", in.Topic,
		strings.Join(why, "; "))}
}

func (t *topicSchemas) count(topic, enforce, why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.counted[topic]
	if m == nil {
		if t.counted == nil {
			t.counted = map[string]*Mismatches{}
		}
		m = &Mismatches{}
		t.counted[topic] = m
	}
	if enforce == EnforceReject {
		m.Refused++
	} else {
		m.Warned++
	}
	m.LastAt, m.LastWhy = time.Now(), why
}

// KnowSchemas reads the schemas of topics, before the first event is held against them.
func (s *Store) KnowSchemas(ctx context.Context) error { return s.schemas.read(ctx, s) }

// follow reads the schemas again and again until stop is closed, and writes down what was counted.
func (t *topicSchemas) follow(s *Store, log *slog.Logger, stop <-chan struct{}) {
	tick := time.NewTicker(schemasEvery)
	defer tick.Stop()
	for failing := false; ; {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		err := errors.Join(t.read(ctx, s), t.write(ctx, s))
		cancel()
		if err != nil && !failing {
			log.Warn("the schemas of topics could not be read; those known so far stay in force", "error", err)
		}
		failing = err != nil
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}

// read takes the schemas of the catalogue over. What has not changed is not compiled anew.
func (t *topicSchemas) read(ctx context.Context, s *Store) error {
	rows, err := s.pool.Query(ctx, "select name, schema::text, enforce from topics where schema is not null and enforce <> 'off'")
	if err != nil {
		return err
	}
	was := t.inForce.Load()
	now := map[string]*topicSchema{}
	var name string
	var row topicSchema
	if _, err := pgx.ForEachRow(rows, []any{&name, &row.text, &row.enforce}, func() error {
		next := row
		if was != nil && (*was)[name] != nil && (*was)[name].text == row.text {
			next.compiled = (*was)[name].compiled
		} else if next.compiled, err = compileSchema(json.RawMessage(row.text)); err != nil {
			return fmt.Errorf("schema of the topic %s: %w", name, err)
		}
		now[name] = &next
		return nil
	}); err != nil {
		return err
	}
	if len(now) == 0 {
		t.inForce.Store(nil)
	} else {
		t.inForce.Store(&now)
	}
	return nil
}

// write adds what was counted to the catalogue.
func (t *topicSchemas) write(ctx context.Context, s *Store) error {
	t.mu.Lock()
	counted := t.counted
	t.counted = nil
	t.mu.Unlock()
	for topic, m := range counted {
		if _, err := s.pool.Exec(ctx, `insert into topic_mismatches as t (topic, warned, refused, last_at, last_why)
			select $1, $2, $3, $4, $5 where exists (select 1 from topics where name = $1)
			on conflict (topic) do update set warned = t.warned + excluded.warned, refused = t.refused + excluded.refused,
				last_at = excluded.last_at, last_why = excluded.last_why`,
			topic, m.Warned, m.Refused, m.LastAt, m.LastWhy); err != nil {
			return err
		}
	}
	return nil
}
