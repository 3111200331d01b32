package notify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
)

// TestWebhook: the published library verifies what arrives, and a try again has the same id and body.
func TestWebhook(t *testing.T) {
	t.Parallel()
	s := adaptertest.NewSink(t, adaptertest.Answer{Status: 500, Body: "later"}, adaptertest.Answer{Body: "thanks"})
	config, secrets := map[string]string{"url": s.URL("/alerts?token=pl4nted")}, map[string]string{}
	if errs := Check("acme", "webhook", config, secrets); len(errs) != 0 || !strings.HasPrefix(secrets["secret"], "whsec_") {
		t.Fatalf("%v %v", errs, secrets)
	}
	c := open(t, testEnv(), "webhook", config, secrets)
	n := failing()
	r, e := refusedAs(t, c, n, adapters.KindTransient, adapters.ClassServer, "500")
	hides(t, r, e, secrets["secret"], "pl4nted")
	n.Try = 2
	if r := mustSend(t, c, n); r.Code != 200 || r.Answer != "thanks" {
		t.Errorf("%+v", r)
	}
	verify, err := standardwebhooks.NewWebhook(secrets["secret"])
	if err != nil {
		t.Fatal(err)
	}
	got := s.Requests()
	for _, req := range got {
		if err := verify.Verify(req.Body, req.Header); err != nil {
			t.Error(err)
		}
	}
	if got[0].Header.Get("webhook-id") != n.ID || got[1].Header.Get("webhook-id") != n.ID || string(got[0].Body) != string(got[1].Body) {
		t.Error("another try is another message")
	}
	if got[1].Header.Get("waybill-topic") != Topic || got[1].Header.Get("waybill-attempt") != "2" {
		t.Errorf("%v", got[1].Lines)
	}
}

// TestPayload holds the JSON of notices, as webhooks and destinations get it, against files.
func TestPayload(t *testing.T) {
	t.Parallel()
	for name, n := range notices() {
		var data []byte
		env := testEnv()
		env.Publish = func(_ context.Context, tenant, id, topic string, metadata map[string]string, d []byte) error {
			if tenant != "operations" || id != n.ID || topic != "waybill.alert" || metadata["severity"] != n.Severity {
				t.Errorf("%s: %s %s %s %v", name, tenant, id, topic, metadata)
			}
			data = d
			return nil
		}
		r := mustSend(t, open(t, env, "destination", map[string]string{"tenant_id": "operations"}, nil), n)
		if !strings.Contains(r.Answer, Topic) {
			t.Errorf("%+v", r)
		}
		golden(t, name+".payload.json", indented(t, data))
	}
}

// TestDestinationOfTenant: a tenant's channel publishes for that tenant, whatever its settings say.
func TestDestinationOfTenant(t *testing.T) {
	t.Parallel()
	env := testEnv()
	var published []string
	var fault error
	env.Publish = func(_ context.Context, tenant, _, _ string, _ map[string]string, _ []byte) error {
		published = append(published, tenant)
		return fault
	}
	env.TenantID = "acme"
	mustSend(t, open(t, env, "destination", nil, nil), failing())
	if fmt.Sprint(published) != "[acme]" {
		t.Errorf("published for %v", published)
	}
	other := map[string]string{"tenant_id": "globex"}
	if _, err := Open(env, "destination", other, nil); err == nil {
		t.Error("a tenant's channel may publish for another tenant")
	}
	if errs := Check("acme", "destination", other, nil); len(errs) != 1 || errs[0].Key != "config.tenant_id" {
		t.Errorf("%v", errs)
	}
	if errs := Check("", "destination", nil, nil); len(errs) != 1 {
		t.Errorf("%v", errs)
	}
	c := open(t, env, "destination", nil, nil)
	fault = errors.New("no connection")
	refusedAs(t, c, failing(), adapters.KindTransient, adapters.ClassInternal)
	fault = &adapters.Error{Kind: adapters.KindPermanent, Class: adapters.ClassNotFound, Message: "There is no such tenant.",
		Advice: "Correct it."}
	refusedAs(t, c, failing(), adapters.KindPermanent, adapters.ClassNotFound, "no such tenant")
}

func TestCheck(t *testing.T) {
	t.Parallel()
	sid := map[string]string{"account_sid": twilioSID, "from": "+15017122661", "to": "+15558675310"}
	for _, c := range []struct {
		kind            string
		config, secrets map[string]string
		want            string // the keys that are wrong
	}{
		{"slack", nil, map[string]string{"url": "https://hooks.slack.com/services/T/B/x"}, ""},
		{"slack", nil, nil, "config.url"},
		{"slack", nil, map[string]string{"url": "http://hooks.slack.com/services/T/B/x"}, "config.url"},
		{"slack", map[string]string{"channel": "#x"}, map[string]string{"url": "https://hooks.slack.com/services/T/B/x"}, "config.channel"},
		{"pagerduty", nil, map[string]string{"routing_key": pagerKey}, ""},
		{"pagerduty", map[string]string{"region": "mars"}, map[string]string{"routing_key": "short"}, "config.region config.routing_key"},
		{"sms", sid, map[string]string{"auth_token": twilioToken}, ""},
		{"sms", map[string]string{"account_sid": "x", "from": "!", "to": "0555"}, nil,
			"config.account_sid config.from config.to config.auth_token"},
		{"webhook", map[string]string{"url": "https://example.com#x"}, nil, "config.url"},
		{"webhook", map[string]string{"url": "https://example.com"}, map[string]string{"secret": "whsec_short"}, "config.secret"},
		{"pigeon", nil, nil, "type"},
	} {
		var keys []string
		for _, e := range Check("", c.kind, c.config, c.secrets) {
			keys = append(keys, e.Key)
			if strings.Contains(e.Message, "whsec_short") {
				t.Errorf("%s shows a secret: %v", c.kind, e)
			}
		}
		if got := strings.Join(keys, " "); got != c.want {
			t.Errorf("%s %v: %q, want %q", c.kind, c.config, got, c.want)
		}
	}
	region := map[string]string{}
	if Check("", "pagerduty", region, map[string]string{"routing_key": pagerKey}); region["region"] != "us" {
		t.Errorf("no default: %v", region)
	}
}

// TestTypes: every field says what it is and how to get it, and the documentation names it.
func TestTypes(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/channels.md")
	if err != nil {
		t.Fatal(err)
	}
	const ours = "email slack pagerduty sms webhook destination"
	var names []string
	for _, k := range Types() {
		if slices.Contains(strings.Fields(ours), k.Name) {
			names = append(names, k.Name)
		}
		section := regexp.MustCompile(`(?s)\n## ` + regexp.QuoteMeta(k.Label) + "\n(.*?)(\n## |$)").FindSubmatch(page)
		if k.Label == "" || !strings.HasSuffix(k.Description, ".") || k.Instructions == "" || section == nil {
			t.Errorf("%s is not described, or has no section in docs/channels.md", k.Name)
			continue
		}
		for _, f := range append(append([]adapters.Field(nil), k.Config...), k.Secrets...) {
			if f.Label == "" || !strings.HasSuffix(f.Help, ".") || f.Type != adapters.FieldSelect && f.Placeholder == "" ||
				(f.Pattern == "") != (f.PatternHelp == "") {
				t.Errorf("%s.%s is not described", k.Name, f.Key)
			}
			if row := fmt.Sprintf("| `%s` | %s | %s |", f.Key, f.Label, f.Help); !strings.Contains(string(section[1]), row) {
				t.Errorf("docs/channels.md does not say of %s: %s", k.Name, row)
			}
		}
		for _, f := range k.Secrets {
			if !f.Sensitive {
				t.Errorf("%s.%s is a secret, and would be shown", k.Name, f.Key)
			}
		}
		if got := Target(k.Name, map[string]string{"to": "a", "tenant_id": "b", "url": "https://example.com/x?key=pl4nted"}); got == "" ||
			strings.Contains(got, "pl4nted") {
			t.Errorf("%s has the target %q", k.Name, got)
		}
	}
	if got := strings.Join(names, " "); got != ours {
		t.Errorf("kinds: %s", got)
	}
	if _, err := Open(testEnv(), "pigeon", nil, nil); err == nil {
		t.Error("pigeons fly")
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	if got := oneLine(" a\r\n\tb\x00c\u202Ed\u2028e \xff", 100); got != "a b cd e" {
		t.Errorf("%q", got)
	}
	if got := clip("äöüß", 3); got != "äö…" {
		t.Errorf("%q", got)
	}
	for in, want := range map[string]string{"javascript:alert(1)": "", "//x": "", "https://a/b?c=<\"'|>": "https://a/b?c=%3C%22%27%7C%3E",
		"":             "",
		"https://a/\n": ""} {
		if got := link(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "1 s", 59 * time.Second: "59 s", 61 * time.Minute: "1 h 1 min",
		49 * time.Hour: "2 d 1 h", 90 * time.Second: "1 min"} {
		if got := lasted(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}
