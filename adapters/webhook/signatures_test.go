package webhook

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
)

// sampled are the schemes that samples are run in.
var sampled = map[string]struct {
	scheme string
	config map[string]string
	form   string // of secrets
}{
	"standard": {"standard", nil, ""},
	"v1a":      {"v1a", nil, ""},
	"outpost":  {"outpost", map[string]string{"header_prefix": "X-Acme-"}, "text"},
	"github": {"custom", map[string]string{"signature_header": "X-Hub-Signature-256", "signature_value": "sha256={{.Signatures}}"},
		"text"},
	"stripe": {"custom", map[string]string{"signature_header": "Stripe-Signature", "signature_content": "{{.Timestamp.Unix}}.{{.Body}}",
		"timestamp_header": "none",
		"signature_value":  `t={{.Timestamp.Unix}},v1={{.Signatures | join ",v1="}}`, "secret_encoding": "whsec", "signature_algorithm": "hmac-sha512"}, "whsec"},
	"slack": {"custom", map[string]string{"signature_header": "X-Slack-Signature", "timestamp_header": "X-Slack-Request-Timestamp",
		"signature_content": "v0:{{.Timestamp.Unix}}:{{.Body}}",
		"signature_value":   "v0={{.Signatures}}"}, "text"},
	"shopify": {"custom", map[string]string{"signature_header": "X-Shopify-Hmac-Sha256", "signature_encoding": "base64",
		"signature_value": "{{.Signatures}}", "secret_encoding": "base64"}, "base64"},
	// Names and texts that mean something in one language or another, and every other setting.
	"odd": {"custom", map[string]string{"signature_header": "x-it's-$sum`", "event_id_header": "none", "topic_header": "X-#Topic", "secret_encoding": "hex", "signature_algorithm": "hmac-sha1",
		"signature_encoding": "base64url", "signature_content": "{{.Topic}}|{{.EventID}}|{{.Timestamp.UnixMilli}}|{{.Body}}|{{.Timestamp.UnixMilli}}end\"",
		"signature_value": `a"b\#{x}$y~.*{{.EventID}};{{.Timestamp.UnixMilli}}<{{.Signatures | join "|"}}>`}, "hex"},
}

// receiverCase is a request, and whether samples must believe it.
type receiverCase struct {
	what    string
	now     int64
	secrets []string
	header  map[string]string
	body    []byte
	want    bool
}

// written is the case as the programs in testdata read it.
func (c *receiverCase) written() string {
	b := fmt.Sprintf("%d\n%d\n", c.now, len(c.secrets))
	for _, s := range c.secrets {
		b += s + "\n"
	}
	b += fmt.Sprintf("%d\n", len(c.header))
	for name, value := range c.header {
		b += name + " " + value + "\n"
	}
	return b + hex.EncodeToString(c.body) + "\n"
}

// receiverCases sends events as a destination with these settings does, and says what a receiver has to make of them.
func receiverCases(t *testing.T, set adapters.Settings, sink *adaptertest.Sink, form string) []receiverCase {
	const now = 1700000000
	pair := func() (secret, shown string) { // what signs, and what the receiver has
		if secret = newSecret(form); form == schemeEd25519 {
			key, _ := privateKey(secret)
			return secret, publicPrefix + base64.StdEncoding.EncodeToString(key[ed25519.SeedSize:])
		}
		return secret, secret
	}
	current, shown := pair()
	previous, shownBefore := pair()
	_, wrong := pair()
	body := []byte(`{"order": 17, "customer": "Zoë", "note": "\u0000"}`)
	deliver := func(at int64, with ...string) map[string]string {
		set.Credentials = map[string]string{"secret": with[0]}
		if len(with) > 1 {
			set.Credentials["previous_secret"], set.Credentials["previous_secret_invalid_at"] = with[1], time.Unix(now+3600, 0).Format(time.RFC3339)
		}
		typ := Type{now: func() time.Time { return time.Unix(at, 123e6) }}
		mustSend(t, open(t, typ, set), adapters.Message{EventID: "evt_1", Topic: "order.created", Attempt: 1, Data: body})
		all := sink.Requests()
		return headers(all[len(all)-1].Header)
	}
	sc := Type{}.Signatures(set)[0]
	without := func(h map[string]string, name string) map[string]string {
		out := map[string]string{}
		for k, v := range h {
			if k != name {
				out[k] = v
			}
		}
		return out
	}
	with := func(h map[string]string, name, value string) map[string]string {
		out := without(h, name)
		out[name] = value
		return out
	}
	fresh, rotating := deliver(now, current), deliver(now, current, previous)
	signature := fresh[sc.Header]
	timed := !slices.ContainsFunc(sc.Notes, func(n string) bool { return strings.HasPrefix(n, "The time is not signed") })
	list := []receiverCase{
		{"a delivery", now, []string{shown}, fresh, body, true},
		{"a delivery of two minutes ago", now + 120, []string{shown}, fresh, body, true},
		{"the receiver has the new secret, and the old one first", now, []string{wrong, shown}, fresh, body, true},
		{"both secrets sign, and the receiver has the new one", now, []string{shown}, rotating, body, true},
		{"both secrets sign, and the receiver has the old one", now, []string{shownBefore}, rotating, body, true},
		{"the old secret does not sign any more", now, []string{shownBefore}, fresh, body, false},
		{"another secret", now, []string{wrong}, rotating, body, false},
		{"no secret", now, nil, fresh, body, false},
		{"another body", now, []string{shown}, fresh, append(slices.Clone(body), ' '), false},
		{"no body", now, []string{shown}, fresh, nil, false},
		{"no signature", now, []string{shown}, without(fresh, sc.Header), body, false},
		{"no header at all", now, []string{shown}, nil, body, false},
		{"half a signature", now, []string{shown}, with(fresh, sc.Header, signature[:len(signature)-5]), body, false},
		{"what is no signature", now, []string{shown}, with(fresh, sc.Header, "v1,!!! v1a,? v0=,sha256=~ t=,v1="), body, false},
		{"the signature of another delivery", now, []string{shown}, with(fresh, sc.Header, deliver(now, previous)[sc.Header]), body, false},
		{"a delivery of eleven minutes ago", now + 660, []string{shown}, fresh, body, !timed},
		{"a delivery of eleven minutes ahead", now - 660, []string{shown}, fresh, body, !timed},
	}
	for name, value := range map[string]string{"webhook-id": "evt_2", "webhook-timestamp": fmt.Sprint(now + 1), "x-slack-request-timestamp": fmt.Sprint(now + 1), "x-#topic": "order.paid"} {
		if fresh[name] != "" {
			list = append(list, receiverCase{"another " + name, now, []string{shown}, with(fresh, name, value), body, false},
				receiverCase{"no " + name, now, []string{shown}, without(fresh, name), body, false},
				receiverCase{"a broken " + name, now, []string{shown}, with(fresh, name, "soon"), body, false})
		}
	}
	return list
}

// runtimes say how the program around a sample is run: its files, and the commands, the last of which reads the cases. Where
// the first is none of a machine's, scripts/test.sh installs it or names it as missing.
var runtimes = map[string]struct {
	driver   string
	name     string // of the driver beside the sample
	commands [][]string
}{
	"node":   {"drive.mjs", "drive.mjs", [][]string{{"node", "drive.mjs"}}},
	"python": {"drive.py", "drive.py", [][]string{{"python3", "-B", "drive.py"}}},
	"go":     {"drive.go.txt", "main.go", [][]string{{"go", "build", "-o", "drive", "."}, {"./drive"}}},
	"ruby":   {"drive.rb", "drive.rb", [][]string{{"ruby", "drive.rb"}}},
	"php":    {"drive.php", "drive.php", [][]string{{"php", "drive.php"}}},
	"java":   {"Drive.java", "Drive.java", [][]string{{"javac", "-encoding", "UTF-8", "-Xlint:all", "-Werror", "Drive.java", "Webhooks.java"}, {"java", "-cp", ".", "Drive"}}},
	"csharp": {"Drive.cs", "Drive.cs", [][]string{{"mcs", "-warnaserror", "-nowarn:219", "-out:drive.exe", "Drive.cs", "Webhooks.cs"}, {"mono", "drive.exe"}}},
	"rust":   {"drive.rs", "drive.rs", [][]string{{"cargo", "build", "--quiet", "--offline", "--locked"}, {"target/debug/NAME"}}},
}

// TestSamples runs each sample in its language against what destinations really send, and against what they never sent.
func TestSamples(t *testing.T) {
	t.Parallel()
	rust, target := sync.OnceValue(func() error { return fetchCrates(t) }), t.TempDir()
	for name, s := range sampled {
		sink := adaptertest.NewSink(t)
		set := settings(sink)
		set.Beside = signed(s.scheme)
		for k, v := range s.config {
			set.Config[k] = v
		}
		all := Type{}.Signatures(set)
		if len(all) != 1 || all[0].Missing != "" {
			t.Fatalf("%s: %+v", name, all)
		}
		form := secretForm(s.scheme, set.Config)
		cases := receiverCases(t, set, sink, form)
		want := 8
		if name == "v1a" {
			want = 7 // not C#, and a note says so
		}
		if len(all[0].Samples) != want {
			t.Errorf("%s: %d samples, want %d", name, len(all[0].Samples), want)
		}
		timed := !strings.Contains(strings.Join(all[0].Notes, " "), "The time is not signed")
		for _, sample := range all[0].Samples {
			t.Run(name+"/"+sample.Language, func(t *testing.T) {
				t.Parallel()
				run := runtimes[sample.Language]
				if _, err := exec.LookPath(run.commands[0][0]); err != nil {
					t.Logf("Not run, for there is no %s here. scripts/test.sh installs it, or says so.", run.commands[0][0])
					return
				}
				if sample.Needs != "" && sample.Language == "python" && exec.CommandContext(t.Context(), "python3", "-c", "import cryptography").Run() != nil {
					t.Log("Not run, for Python has no cryptography here. scripts/test.sh installs it, or says so.")
					return
				}
				if sample.Language == "rust" {
					if err := rust(); err != nil {
						t.Logf("Not run, for cargo cannot fetch what it needs. scripts/test.sh says so. %s", err)
						return
					}
				}
				runSample(t, name, target, sample, timed, cases)
			})
		}
	}
}

// fetchCrates brings what the samples in Rust need into cargo's own cache.
func fetchCrates(t *testing.T) error {
	dir := t.TempDir()
	rustProject(t, dir, "receiver", "fn main() {}")
	cmd := exec.CommandContext(t.Context(), "cargo", "fetch", "--quiet", "--locked")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func rustProject(t *testing.T, dir, program, source string) {
	for _, name := range []string{"Cargo.toml", "Cargo.lock"} {
		text := read(t, filepath.Join("testdata", "samples", "rust", name))
		put(t, filepath.Join(dir, name), strings.ReplaceAll(text, `name = "receiver"`, fmt.Sprintf("name = %q", program)))
	}
	put(t, filepath.Join(dir, "src", "main.rs"), source)
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// runSample writes a sample and the program around it, and holds what that prints against the cases. What cargo builds for all
// schemes is in target.
func runSample(t *testing.T, scheme, target string, sample adapters.Sample, timed bool, cases []receiverCase) {
	run, dir := runtimes[sample.Language], t.TempDir()
	now := ""
	if timed {
		if now = ", now"; sample.Language == "php" {
			now = ", $now"
		}
	}
	driver := strings.ReplaceAll(read(t, filepath.Join("testdata", "samples", run.driver)), " NOW", now)
	switch sample.Language {
	case "go":
		put(t, filepath.Join(dir, "go.mod"), "module receiver\n\ngo 1.22\n")
		put(t, filepath.Join(dir, "webhooks", sample.File), sample.Code)
	case "rust":
		rustProject(t, dir, "receiver-"+scheme, sample.Code+driver)
	default:
		put(t, filepath.Join(dir, sample.File), sample.Code)
	}
	if sample.Language != "rust" {
		put(t, filepath.Join(dir, run.name), driver)
	}
	var input strings.Builder
	for _, c := range cases {
		input.WriteString(c.written())
	}
	for i, command := range run.commands {
		program := strings.Replace(command[0], "target/debug/NAME", filepath.Join(target, "debug", "receiver-"+scheme), 1)
		cmd := exec.CommandContext(t.Context(), program, command[1:]...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOWORK=off", "GOFLAGS=", "LC_ALL=C.UTF-8", "CARGO_TARGET_DIR="+target)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		last := i == len(run.commands)-1
		if last {
			cmd.Stdin = strings.NewReader(input.String())
		}
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v: %v\n%s%s\n%s", command, err, &out, &errs, sample.Code)
		}
		if last {
			checkAnswers(t, cases, strings.Fields(out.String()), sample.Code)
		}
	}
}

func checkAnswers(t *testing.T, cases []receiverCase, got []string, code string) {
	if len(got) != len(cases) {
		t.Fatalf("%d answers to %d cases", len(got), len(cases))
	}
	for i, c := range cases {
		if got[i] != fmt.Sprint(c.want) {
			t.Errorf("%s: %s, want %t, with %q at %d", c.what, got[i], c.want, c.header, c.now)
		}
	}
	if t.Failed() {
		t.Log(code)
	}
}

// TestSignaturesThatCannotBeVerified says so, instead of showing code that refuses everything.
func TestSignaturesThatCannotBeVerified(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		config map[string]string
		says   string
	}{
		{map[string]string{"signature_content": "{{.EventID}}{{.Body}}", "event_id_header": "none"}, "has the event's id, which no header shows"},
		{map[string]string{"signature_content": "{{.Timestamp.UnixMilli}}{{.Body}}"}, "has the time in milliseconds, which no header shows"},
		{map[string]string{"signature_content": `{{.Timestamp.Format "2006"}}{{.Body}}`}, "a form of its own"},
		{map[string]string{"signature_value": `{{.Timestamp.Unix}}{{.Signatures}}`}, "cannot be taken apart"},
		{map[string]string{"signature_value": `{{.Signatures | join ""}}`}, "cannot be taken apart"},
		{map[string]string{"signature_value": `{{.Signatures}} {{.Signatures}}`}, "cannot be taken apart"},
	} {
		s := valid()
		s.Beside = signed("custom")
		for k, v := range c.config {
			s.Config[k] = v
		}
		if errs := check(Type{}, s); len(errs) > 0 {
			t.Fatal(errs)
		}
		got := Type{}.Signatures(*s)
		if len(got) != 1 || len(got[0].Samples) != 0 || !strings.Contains(got[0].Missing, c.says) {
			t.Errorf("%v: %+v", c.config, got)
		}
	}
}

// TestSignaturesOfTwoSchemes has one for each.
func TestSignaturesOfTwoSchemes(t *testing.T) {
	t.Parallel()
	s := valid()
	s.Config["second_signature"] = "outpost"
	if errs := check(Type{}, s); len(errs) > 0 {
		t.Fatal(errs)
	}
	got := Type{}.Signatures(*s)
	if len(got) != 2 || got[0].Header != "webhook-signature" || got[1].Header != "x-outpost-signature" || len(got[1].Samples) != 8 {
		t.Errorf("%+v", got)
	}
}

var update = flag.Bool("update", false, "write the samples of docs/verify.md anew")

// TestVerifyPage holds the samples on the page for receivers against those that are tested.
func TestVerifyPage(t *testing.T) {
	t.Parallel()
	name := filepath.Join("..", "..", "docs", "verify.md")
	page := read(t, name)
	const mark = "-update`. -->\n"
	begin, _, ok := strings.Cut(page, mark)
	if !ok {
		t.Fatal("docs/verify.md has no place for the samples")
	}
	want := begin + mark
	fences := map[string]string{"node": "js", "csharp": "cs"}
	for _, s := range (Type{}).Signatures(*valid())[0].Samples {
		want += "\n### " + s.Label + "\n\n```" + or(fences[s.Language], s.Language) + "\n" + s.Code + "```\n"
	}
	if *update {
		put(t, name, want)
		return
	}
	if page != want {
		t.Error("docs/verify.md is not what the samples are; go test ./adapters/webhook -run VerifyPage -update writes it")
	}
}
