package app

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
)

// TestReseal changes the key while a server works: what is sealed is sealed anew, in two goes, and the old key is not needed any more.
func TestReseal(t *testing.T) {
	t.Parallel()
	const first, second, third = "a secret for tests that is long enough", "the second secret that is long enough", "the third secret that is long enough"
	a := newTestApp(t, nil)
	a.tenant("acme")
	for i := range 5 {
		a.want(201, "POST", "/tenants/acme/destinations", fmt.Sprintf(`{"id":"hook%d","type":"webhook","topics":"*","disabled_at":"2020-01-01T00:00:00Z",
			"config":{"url":"https://example.com"}}`, i))
	}
	a.want(201, "POST", "/tenants/acme/channels", `{"name":"chat","type":"slack","config":{"url":"https://hooks.slack.com/services/T0/B0/secret"}}`)
	a.want(201, "POST", "/channels", `{"name":"ours","type":"slack","config":{"url":"https://hooks.slack.com/services/T0/B0/secret"}}`)
	for i := range 150 {
		a.want(202, "POST", "/publish", `{"tenant_id":"acme","data":{}}`, "Idempotency-Key", fmt.Sprintf("key %03d", i))
	}
	a.want(200, "DELETE", "/tenants/acme/destinations/hook4", nil)
	secret := a.want(200, "POST", "/tenants/acme/destinations/hook1/secrets/reveal", nil).raw
	env := func(key string, older ...string) func(string) string {
		return func(name string) string {
			return map[string]string{"DATABASE_URL": a.Cfg.DatabaseURL, "SECRET_KEY": key, "SECRET_KEY_PREVIOUS": strings.Join(older, ",")}[name]
		}
	}
	run := func(ctx context.Context, key string, older ...string) (string, error) {
		var out bytes.Buffer
		err := reseal(ctx, env(key, older...), &out)
		return out.String(), err
	}
	left := func(key string, older ...string) string {
		p := &patient{T: t, url: a.Cfg.DatabaseURL, key: key, older: strings.Join(older, ",")}
		for _, f := range p.see(false) {
			if f.Check == "secrets" && strings.Contains(f.Message, "waybill reseal") {
				return f.Message
			}
		}
		return ""
	}
	if out, err := run(t.Context(), second); err == nil {
		t.Errorf("without the key of before: %s", out)
	}
	if got := left(first); got != "" {
		t.Errorf("before the change, the doctor says %q", got)
	}
	all := a.count("select count(*) from destinations where credentials is not null")
	if got := left(second, first); !strings.Contains(got, fmt.Sprintf("%d of %d destinations, 2 of 2 channels, 150 of 150 answers", all, all)) {
		t.Errorf("after the change, the doctor says %q", got)
	}

	// It is broken off in the middle, and goes on.
	ctx, cancel := context.WithCancel(t.Context())
	store, err := openSmall(ctx, &config.Config{DatabaseURL: a.Cfg.DatabaseURL, SecretKey: second, OlderKeys: []string{first}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	n := 0
	err = store.Reseal(ctx, func(models.ResealProgress) {
		if n++; n == 3 {
			cancel()
		}
	})
	if err == nil {
		t.Error("it was not broken off")
	}
	if got := left(second, first); !strings.Contains(got, fmt.Sprintf("%d of %d destinations", all-3, all)) {
		t.Errorf("broken off, the doctor says %q", got)
	}
	out, err := run(t.Context(), second, first)
	if err != nil || !strings.Contains(out, fmt.Sprintf("destinations: %d of %d sealed anew\n", all-3, all-3)) ||
		!strings.Contains(out, "channels: 2 of 2 sealed anew\n") || !strings.Contains(out, "Idempotency-Key: 150 of 150 sealed anew\n") ||
		!strings.Contains(out, "Everything that is sealed is sealed with SECRET_KEY.") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := run(t.Context(), second, first); err != nil || !strings.Contains(out, "destinations: 0 of 0 sealed anew") {
		t.Errorf("once more, %v: %s", err, out)
	}

	// The old key can be taken away: everything is as it was.
	if got := left(second); got != "" {
		t.Errorf("afterwards, the doctor says %q", got)
	}
	b := newProcessOf(t, testConfig(t, func(c *config.Config) { c.DatabaseURL, c.SecretKey = a.Cfg.DatabaseURL, second }))
	if got := b.want(200, "POST", "/tenants/acme/destinations/hook1/secrets/reveal", nil).raw; got != secret {
		t.Errorf("the secret was %s and is %s", secret, got)
	}
	if o := b.want(202, "POST", "/publish", `{"tenant_id":"acme","data":{}}`, "Idempotency-Key", "key 149"); o.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("the answer was not kept: %v", o.header)
	}
	for _, owner := range []string{"acme", ""} {
		var owned int64
		var id string
		var sealed []byte
		if err := a.db.QueryRow(t.Context(), `select c.owner_key, c.id, c.secrets from channels c left join tenants t on t.key = c.owner_key
			where coalesce(t.id, '') = $1`, owner).Scan(&owned, &id, &sealed); err != nil {
			t.Fatal(err)
		}
		if plain, err := b.Store.Keys.Open(sealed, fmt.Sprintf("channel %d %s", owned, id)); err != nil || !strings.Contains(string(plain), "/secret") {
			t.Errorf("the channel of %q: %v", owner, err)
		}
	}

	// What nobody has the key of stays as it is, and is told.
	b.want(201, "POST", "/tenants/acme/destinations", `{"id":"fresh","type":"webhook","topics":"*","config":{"url":"https://example.com"}}`)
	a.exec("update destinations set credentials = set_byte(credentials, 1, get_byte(credentials, 1) # 255) where id = 'hook2'")
	out, err = run(t.Context(), third, second)
	if err == nil || !strings.Contains(out, fmt.Sprintf("destinations: %d of %d sealed anew, 1 cannot be opened", all, all+1)) {
		t.Errorf("%v: %s", err, out)
	}
}

// notSealed are columns of bytes that hold nothing sealed.
var notSealed = []string{"api_keys.hash", "sessions.token_hash", "portal_links.token_hash", "attempts.headers", "attempts.response_body", "events.data",
	"events.metadata", "health_deltas.outcomes", "idempotency_keys.caller", "idempotency_keys.fingerprint", "traffic.latencies",
	"traffic_deltas.latencies", "invitations.token_hash", "login_steps.token_hash", "recovery_codes.hash", "logout_tokens.hash",
	"passkey_challenges.token_hash", "passkeys.credential_id", "attempts.headers",
	// Sealed with the keys of tenants, which are sealed anew in their place.
	"events.sealed", "attempts.sealed"}

// TestSealedColumns: whoever adds a column of sealed values has it sealed anew, too.
func TestSealedColumns(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	rows, err := a.db.Query(t.Context(), `select c.relname || '.' || a.attname from pg_attribute a join pg_class c on c.oid = a.attrelid
		where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition and a.atttypid = 'bytea'::regtype
		and not a.attisdropped order by 1`)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !slices.Contains(notSealed, name) && !slices.Contains(models.SealedColumns(), name) {
			t.Errorf("%s holds bytes: when they are sealed, add it to sealedColumns (models/reseal.go), else to notSealed here", name)
		}
	}
	for _, name := range models.SealedColumns() {
		if name != models.PayloadKeysSchema+".payload_keys.sealed" && !slices.Contains(names, name) { // of TestPayloadKeysElsewhere
			t.Errorf("there is no column %s", name)
		}
	}
}
