// Package config reads the environment.
package config

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/adapters/notify"
	"github.com/waybill-dev/waybill/internal/clientip"
	"github.com/waybill-dev/waybill/internal/traces"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/seal"
)

// Config is what the environment says. It is read in this package only, and every problem is reported at once.
type Config struct {
	Role string // the command: serve, web or work

	PayloadEncryption bool   // payloads are sealed with a key of each tenant's own
	PayloadKeysURL    string // of the database of these keys; empty for a schema in the database itself

	Host          string
	Port          int
	DatabaseURL   string        // empty for a private PostgreSQL in DataDir (serve only)
	DirectURL     string        // of the same database, past a pooler; empty where DatabaseURL keeps sessions
	ReplicaURL    string        // of a standby that reads may go to; empty for none
	ReplicaLag    time.Duration // how far it may be behind
	DataDir       string
	APIKey        string
	SecretKey     string
	OlderKeys     []string
	AdminEmail    string
	AdminPass     string
	RequireFactor bool // of users with a role for the whole server
	OIDC          OIDC
	BaseURL       string        // shadows that of Rules, which Defaults completes
	Hosts         []string      // further names that the server answers to, in lower case; *.name for those below it, * for any
	TokenAudience string        // of tenants' tokens: AudienceOptional or AudienceRequired
	HSTS          time.Duration // how long browsers use TLS only; 0 for what they like
	WriteTimeout  time.Duration // how long a reader may take for a portion of an answer; 0 for any time
	EgressAllow   []netip.Prefix
	HostCreds     bool     // destinations may use the credentials of this machine
	GoogleKeyFile string   // those for Google Cloud; empty for the metadata server's
	models.Rules           // defaults and limits, those that can be changed while the server runs among them
	Locked        []string // names of settings for which the environment is the last word
	MaxInFlight   int      // attempts under way at once in this process
	Cells         []string // names of the databases that this process serves; nil for all
	LogLevel      slog.Level
	LogFormat     string // text or json
	Proxies       clientip.Proxies
	ProxyProtocol bool             // of the proxies' connections: they begin with a header of it
	MaxConns      int              // connections at once; 0 for any number
	MaxConnsFrom  int              // and from one address that is no proxy's; 0 for any number
	ReadTimeout   time.Duration    // how long a request's header, and the first 8 KiB of its body, may take to arrive
	SMTP          notify.SMTP      // without a server when SMTP_URL is not given; meant for notify.Env
	OTLP          traces.Collector // without an address for no traces
	LogsURL       linkTemplate     // where operators find an attempt's log lines; empty for nowhere
	TracesURL     linkTemplate     // and its trace
	Operator      operatorEnv      // a destination of the operators
	MetricsAddr   string           // where metrics are served without a key; empty for nowhere

	NewAPIKey bool // the API key was made up just now
	KeyInFile bool // the API key is kept in DataDir

	BaseURLMissing bool // the environment does not say BASE_URL

	given []Setting           // as it was read; see Settings
	env   func(string) string // that it was read from

	fromFiles map[string]string // values of variables that files give
}

// Whether tenants' tokens must name their audience.
const (
	AudienceOptional = "optional"
	AudienceRequired = "required"
)

// Private reports whether the process brings its own PostgreSQL.
func (c *Config) Private() bool { return c.DatabaseURL == "" }

// SessionURL is the address of the database for everything that needs a session, and the variable that gives it.
func (c *Config) SessionURL() (url, variable string) {
	if c.DirectURL != "" {
		return c.DirectURL, "DATABASE_URL_DIRECT"
	}
	return c.DatabaseURL, "DATABASE_URL"
}

// Serves reports whether the process serves the database that is called so among the cells.
func (c *Config) Serves(cell string) bool { return len(c.Cells) == 0 || slices.Contains(c.Cells, cell) }

// Pooled reports whether the process does with DATABASE_URL, which may be that of a pooler in transaction mode. Only web does: it
// has no session at all. Workers hold locks and listen.
func (c *Config) Pooled() bool { return c.Role == "web" && c.DirectURL != "" }

// databaseAddress checks an address of the database.
func databaseAddress(dst *string, v string) error {
	if v == "" {
		return nil
	}
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return errors.New("must be an address like postgres://user:password@host:5432/database")
	}
	*dst = v
	return nil
}

// variable documents one variable of the environment; .env.example and `waybill check-config` are drawn from it.
type variable struct {
	name, dflt, help string
	set              func(r *reader, value string) error
}

// reader reads variables into a Config.
type reader struct {
	*Config
	env func(string) string
}

// variables lists every variable, in the order of .env.example.
func variables() []variable {
	return slices.Concat([]variable{
		{"PORT", "3000", "where web listens", func(r *reader, v string) error { return intIn(&r.Port, v, 1, 65535) }},
		{"HOST", "", "address to listen on; 127.0.0.1 for serve without DATABASE_URL, else 0.0.0.0",
			func(r *reader, v string) error { r.Host = v; return nil }},
		{"DATABASE_URL", "", "PostgreSQL 14 or newer; serve without it starts a private one in DATA_DIR",
			func(r *reader, v string) error { return databaseAddress(&r.DatabaseURL, v) }},
		{"DATABASE_URL_DIRECT", "",
			"PostgreSQL itself, where DATABASE_URL is a pooler in transaction mode: web uses the pooler, everything else this address",
			func(r *reader, v string) error { return databaseAddress(&r.DirectURL, v) }},
		{"DATABASE_URL_REPLICA", "", "a streaming standby of the database: lists, search, counts, metrics, exports and pages are read there (docs/replica.md)",
			func(r *reader, v string) error { return databaseAddress(&r.ReplicaURL, v) }},
		{"REPLICA_MAX_LAG", "10s", "how far the standby may be behind; past it the primary is read from until it is half as far behind",
			func(r *reader, v string) error { return timeIn(&r.ReplicaLag, v, time.Second, 10*time.Minute) }},
		{"DATA_DIR", "./data", "the private PostgreSQL and generated keys", func(r *reader, v string) error { r.DataDir = v; return nil }},
		{"API_KEY", "", "bootstrap admin key; serve makes one up and prints it once", func(r *reader, v string) error {
			if v != "" && len(v) < 16 {
				return errors.New("must be at least 16 characters long")
			}
			r.APIKey = v
			return nil
		}},
		{"SECRET_KEY", "", "encrypts credentials, signs sessions and tokens; serve makes one up, web and work need it",
			func(r *reader, v string) error {
				if v != "" && len(v) < seal.MinSecret {
					return fmt.Errorf("must be at least %d characters long", seal.MinSecret)
				}
				r.SecretKey = v
				return nil
			}},
		{"SECRET_KEY_PREVIOUS", "", "older keys, comma-separated, that still open what they sealed", func(r *reader, v string) error {
			r.OlderKeys = List(v)
			for _, k := range r.OlderKeys {
				if len(k) < seal.MinSecret {
					return fmt.Errorf("each must be at least %d characters long", seal.MinSecret)
				}
			}
			return nil
		}},
		{"PAYLOAD_ENCRYPTION", "off",
			"on: payloads of new events, and what attempts keep, are encrypted with a key of each tenant's own, which an erasure of all deletes (docs/privacy.md)",
			func(r *reader, v string) error {
				if v != "on" && v != "off" {
					return errors.New("must be on or off")
				}
				r.PayloadEncryption = v == "on"
				return nil
			}},
		{"PAYLOAD_KEYS_DATABASE_URL", "", "PostgreSQL that keeps these keys, so that they are not in backups; empty for the schema waybill_keys of DATABASE_URL",
			func(r *reader, v string) error { return databaseAddress(&r.PayloadKeysURL, v) }},
		{"TOKEN_AUDIENCE", AudienceOptional,
			"whether a tenant's token must name BASE_URL as its audience: optional (one that names another is refused all the same) or required",
			func(r *reader, v string) error {
				if v != AudienceOptional && v != AudienceRequired {
					return errors.New("must be optional or required")
				}
				r.TokenAudience = v
				return nil
			}},
		{"ADMIN_EMAIL", "", "first user; without it the setup page asks, protected by a one-time code in the log",
			func(r *reader, v string) error {
				if _, err := mail.ParseAddress(v); v != "" && err != nil {
					return errors.New("must be an e-mail address")
				}
				r.AdminEmail = v
				return nil
			}},
		{"ADMIN_PASSWORD", "", "password of the first user", func(r *reader, v string) error {
			if v != "" && len(v) < models.MinPassword {
				return fmt.Errorf("must be at least %d characters long", models.MinPassword)
			}
			r.AdminPass = v
			return nil
		}},
		{"REQUIRE_SECOND_FACTOR", "false", "true lets users with a role for the whole server do nothing before they have a second factor",
			func(r *reader, v string) (err error) {
				if r.RequireFactor, err = strconv.ParseBool(v); err != nil {
					return errors.New("must be true or false")
				}
				return nil
			}},
	}, oidcVariables(), []variable{
		{"BASE_URL", "",
			"where people and clients reach it: links in answers, mails and pages; with a path where a proxy serves it under one; http://localhost:$PORT", func(r *reader, v string) error {
				u, err := url.Parse(v)
				if v != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
					return errors.New("must be an address like https://waybill.example.com, or https://example.com/waybill behind a proxy")
				}
				if err == nil && (u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(v, "#")) {
					return errors.New("must have no user, query or fragment: only https://host, and a path where a proxy serves it under one")
				}
				if err == nil && (path.Clean("/"+u.Path) != "/"+strings.Trim(u.Path, "/") || !basePath.MatchString(u.EscapedPath())) {
					return errors.New("must have a path of letters, digits, -, _, . and ~ only, like https://example.com/waybill")
				}
				r.BaseURL = strings.TrimRight(v, "/")
				if first := FirstPart(r.BasePath()); slices.Contains(OwnPaths, first) {
					return fmt.Errorf("must have a path that does not begin with /%s, where the server has pages of its own; /waybill is a good one", first)
				}
				return nil
			}},
		{"ALLOWED_HOSTS", "",
			"further names that requests may ask for beside that of BASE_URL, comma-separated: waybill.internal, *.example.com; * for any",
			func(r *reader, v string) error { return r.setHosts(v) }},
		{"HSTS_MAX_AGE", "8760h", "how long browsers that have seen an https BASE_URL use nothing but TLS for its host; 0s to say nothing",
			func(r *reader, v string) error {
				return timeIn(&r.HSTS, v, 0, 2*8760*time.Hour)
			}},
		{"WRITE_TIMEOUT", "30s",
			"a reader that takes less than 64 KiB of an answer, export or stream that waits for it in this time is cut off; 0s for never",
			func(r *reader, v string) error {
				return timeIn(&r.WriteTimeout, v, 0, 10*time.Minute)
			}},
		{"TRUSTED_PROXIES", "", "addresses or CIDRs, comma-separated, whose PROXY_HEADER is believed", func(r *reader, v string) error {
			for _, s := range List(v) {
				p, err := parsePrefix(s)
				if err != nil {
					return err
				}
				r.Proxies.Trusted = append(r.Proxies.Trusted, p)
			}
			return nil
		}},
		{"PROXY_HEADER", clientip.XForwardedFor,
			"header in which they name the caller: X-Forwarded-For or Forwarded (RFC 7239); the right-most address that is not a proxy's counts", func(r *reader, v string) error {
				if v != clientip.XForwardedFor && v != clientip.Forwarded {
					return errors.New("must be X-Forwarded-For or Forwarded")
				}
				r.Proxies.Header = v
				return nil
			}},
		{"PROXY_PROTOCOL", "off",
			"on: the proxies in TRUSTED_PROXIES name the caller by the PROXY protocol (v1 or v2) as each connection begins; those without it are closed",
			func(r *reader, v string) error {
				if v != "on" && v != "off" {
					return errors.New("must be on or off")
				}
				r.ProxyProtocol = v == "on"
				return nil
			}},
		{"MAX_CONNECTIONS", "4096", "connections that web has at once; 0 for any number",
			func(r *reader, v string) error { return intIn(&r.MaxConns, v, 0, 1_000_000) }},
		{"MAX_CONNECTIONS_PER_ADDRESS", "512",
			"of those, from one address (of IPv6, one /64) that is not in TRUSTED_PROXIES; 0 for any number",
			func(r *reader, v string) error {
				return intIn(&r.MaxConnsFrom, v, 0, 1_000_000)
			}},
		{"READ_TIMEOUT", "20s",
			"how long a request may take to arrive; large bodies have a second more for every 16 KiB, and must not pause for half as long",
			func(r *reader, v string) error {
				return timeIn(&r.ReadTimeout, v, 100*time.Millisecond, 5*time.Minute)
			}},
		{"TOPICS", "", "catalogue of topics, comma-separated, also managed in the dashboard; empty: any topic",
			func(r *reader, v string) error {
				r.Topics = List(v)
				return models.CheckCatalogue(r.Topics)
			}},
		{"EGRESS_ALLOW", "",
			"CIDRs, comma-separated, that destinations may reach although private; serve with its private PostgreSQL allows loopback", func(r *reader, v string) error {
				for _, s := range List(v) {
					p, err := parsePrefix(s)
					if err != nil {
						return err
					}
					r.EgressAllow = append(r.EgressAllow, p)
				}
				return nil
			}},
		{"HOST_CREDENTIALS", "false",
			"true lets destinations without credentials use those of this machine (an instance's role, a service account)",
			func(r *reader, v string) (err error) {
				r.HostCreds, err = strconv.ParseBool(v)
				if err != nil {
					return errors.New("must be true or false")
				}
				return nil
			}},
		{"GOOGLE_APPLICATION_CREDENTIALS", "",
			"with HOST_CREDENTIALS: key file of the service account that Pub/Sub destinations use; without it, that of the Google Cloud machine", func(r *reader, v string) error {
				r.GoogleKeyFile = v
				return nil
			}},
	}, liveVariables(), []variable{
		{"CELLS", "", "names of the databases, comma-separated, that this process serves where tenants are in several (docs/scaling.md); that of DATABASE_URL is main; empty for all",
			func(r *reader, v string) error { r.Cells = List(v); return nil }},
		{"MAX_IN_FLIGHT", "1000", "attempts under way at once in one worker process",
			func(r *reader, v string) error { return intIn(&r.MaxInFlight, v, 1, 100000) }},
		{"SMTP_URL", "",
			"where alert mails are handed in: smtp://user:password@host:587 (STARTTLS) or smtps://…; without it they are written to the notifications log only", func(r *reader, v string) (err error) {
				r.SMTP, err = notify.ParseSMTP(v)
				return err
			}},
		{"MAIL_FROM", "", "sender of alert mails: Waybill <alerts@example.com>", func(r *reader, v string) (err error) {
			if v != "" {
				r.SMTP, err = r.SMTP.From(v)
			}
			return err
		}},
		{"METRICS_ADDR", "",
			"where metrics and health are served without a key, also by work: 127.0.0.1:9464 or :9464; keep it inside your network", func(r *reader,
				v string) error {
				if _, port, err := net.SplitHostPort(v); v != "" && (err != nil || port == "") {
					return errors.New("must be an address and a port like 127.0.0.1:9464, or :9464 for every address of the machine")
				}
				r.MetricsAddr = v
				return nil
			}},
		{"LOGS_URL", "",
			"link to your log system on an attempt's page, for operators: https://logs.example.com/?q={attempt_id}&from={from}&to={to}", func(r *reader, v string) (err error) {
				r.LogsURL, err = parseLinkTemplate(v)
				return err
			}},
		{"TRACES_URL", "",
			"the same for traces, https://traces.example.com/trace/{trace_id}; also event_id, delivery_id, destination_id, tenant_id, from_ms, to_ms", func(r *reader, v string) (err error) {
				r.TracesURL, err = parseLinkTemplate(v)
				return err
			}},
	}, traceVariables(), []variable{
		{"LOG_LEVEL", "info", "debug, info, warn or error", func(r *reader, v string) error {
			if r.LogLevel.UnmarshalText([]byte(v)) != nil {
				return errors.New("must be debug, info, warn or error")
			}
			return nil
		}},
		{"LOG_FORMAT", "", "text or json; text on a terminal, else json", func(r *reader, v string) error {
			if v != "" && v != "text" && v != "json" {
				return errors.New("must be text or json")
			}
			r.LogFormat = v
			return nil
		}},
	}, operatorVariables())
}

// basePath is the path that BASE_URL may have. What it allows needs no escaping anywhere: in links, cookies, scripts.
var basePath = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)*/*$`)

// oneLine is an error that may quote a value, such as the name of a file, on one line.
func oneLine(err error) string {
	return strings.NewReplacer("\r", " ", "\n", " ").Replace(err.Error())
}

// ReadConfig reads the configuration of a command from the environment. The error has one line per problem. Secrets
// that serve makes up are written to DataDir by Config.Secrets, not here.
func ReadConfig(role string, env func(string) string) (*Config, error) {
	c := &Config{Role: role, env: env, fromFiles: map[string]string{}}
	files := &files{env: env}
	env = files.get
	r := &reader{c, env}
	var problems []string
	for _, v := range variables() {
		value, name := lookUp(env, v.name)
		if files.problems[name] != nil {
			continue
		}
		s := read(files, v, name)
		if c.given = append(c.given, s); s.Source == SourceFile || s.Source == SourceCredential {
			c.fromFiles[v.name] = value
		}
		if value == "" {
			value = v.dflt
		}
		if err := v.set(r, value); err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", name, oneLine(err)))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files.problems)) {
		problems = append(problems, fmt.Sprintf("%s: %v", name, oneLine(files.problems[name])))
	}
	if env("DATABASE_URL") == "" && role != "serve" && role != "doctor" && files.problems["DATABASE_URL"] == nil {
		problems = append(problems, "DATABASE_URL: is required (only `waybill serve` brings its own PostgreSQL)")
	}
	if env("DATABASE_URL") == "" && env("DATABASE_URL_DIRECT") != "" {
		problems = append(problems, "DATABASE_URL_DIRECT: give it together with DATABASE_URL, the pooler's address; without a pooler give DATABASE_URL only")
	}
	if env("DATABASE_URL") == "" && c.ReplicaURL != "" && files.problems["DATABASE_URL"] == nil {
		problems = append(problems, "DATABASE_URL_REPLICA: give it together with DATABASE_URL, the primary's address")
	}
	if env("SECRET_KEY") == "" && (role == "web" || role == "work") && files.problems["SECRET_KEY"] == nil {
		problems = append(problems, "SECRET_KEY: is required; make one with `openssl rand -base64 32` and give the same to every process")
	}
	if (c.AdminEmail == "") != (c.AdminPass == "") {
		problems = append(problems, "ADMIN_EMAIL, ADMIN_PASSWORD: give both or neither")
	}
	if c.ProxyProtocol && len(c.Proxies.Trusted) == 0 && files.problems["TRUSTED_PROXIES"] == nil {
		problems = append(problems,
			"PROXY_PROTOCOL: needs TRUSTED_PROXIES, the addresses of the proxies that send it; nobody else's header is believed")
	}
	problems = append(problems, c.OIDC.problems(files.problems)...)
	if _, err := c.Operator.Input(); err != nil {
		problems = append(problems, err.Error())
	}
	if (env("SMTP_URL") == "") != (env("MAIL_FROM") == "") {
		problems = append(problems, "SMTP_URL, MAIL_FROM: give both or neither")
	}
	for _, p := range c.Webhook.Problems() {
		problems = append(problems, webhookProblem(p.Key, p.Message))
	}
	if c.Host == "" {
		c.Host = "0.0.0.0"
		if c.Private() {
			c.Host = "127.0.0.1"
		}
	}
	if c.BaseURL == "" {
		c.BaseURLMissing = true
		c.BaseURL = fmt.Sprintf("http://localhost:%d", c.Port)
	}
	if c.Private() && role == "serve" {
		c.EgressAllow = append(c.EgressAllow, netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"))
	}
	if len(problems) > 0 {
		return nil, errors.New(strings.Join(problems, "\n"))
	}
	c.derive()
	return c, nil
}

// Secrets makes up the secrets that serve was not given, and keeps them in DataDir so that the next start has the same.
func (c *Config) Secrets() error {
	for _, s := range []struct {
		name, file, prefix string
		value              *string
	}{
		{"SECRET_KEY", models.KeyFile, "", &c.SecretKey},
		{"API_KEY", "api_key", models.KeyPrefix, &c.APIKey},
	} {
		if *s.value != "" {
			continue
		}
		path := filepath.Join(c.DataDir, s.file)
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			var raw [32]byte
			rand.Read(raw[:])
			b = []byte(s.prefix + base64.RawURLEncoding.EncodeToString(raw[:]) + "\n")
			if err := writeNew(path, b); err != nil {
				return fmt.Errorf("%s: cannot be kept in %s: %w", s.name, path, err)
			}
			c.NewAPIKey = s.value == &c.APIKey
		} else if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		c.KeyInFile = s.value == &c.APIKey
		*s.value = strings.TrimSpace(string(b))
		if len(*s.value) < seal.MinSecret {
			return fmt.Errorf("%s: %s is damaged; restore it, or set %s", s.name, path, s.name)
		}
	}
	return nil
}

// writeNew writes a secret to a file that does not exist yet, whole or not at all.
func writeNew(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.Write(b)
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// Defaults are the limits and defaults for the models, as the environment says them.
func (c *Config) Defaults() models.Rules {
	r := c.Rules
	r.BaseURL, r.HostCredentials = c.BaseURL, c.HostCreds
	return r
}

// EnvExample is the text of .env.example.
func EnvExample() string {
	var b strings.Builder
	b.WriteString("# Every variable that Waybill reads, with its default. Durations are written 10s, 5m, 6h.\n" +
		"# Each may be given as a file instead, which is for secrets: SECRET_KEY_FILE=/run/secrets/secret_key.\n")
	for _, v := range variables() {
		fmt.Fprintf(&b, "\n# %s\n#%s=%s\n", v.help, v.name, v.dflt)
	}
	return b.String()
}

func List(v string) []string {
	var out []string
	for _, s := range strings.Split(v, ",") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

func intIn(dst *int, v string, lo, hi int) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < lo || n > hi {
		return fmt.Errorf("must be a whole number between %d and %d, not %q", lo, hi, v)
	}
	*dst = n
	return nil
}

func durationIn(dst *models.Duration, v string, lo, hi time.Duration) error {
	d, err := models.ParseDuration(v)
	if err != nil {
		return err
	}
	if time.Duration(d) < lo || time.Duration(d) > hi {
		return fmt.Errorf("must be between %v and %v, not %q", models.Duration(lo), models.Duration(hi), v)
	}
	*dst = d
	return nil
}

// timeIn is durationIn for a field that is no setting of destinations.
func timeIn(dst *time.Duration, v string, lo, hi time.Duration) error {
	return durationIn((*models.Duration)(dst), v, lo, hi)
}

func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%q is neither an address nor a CIDR like 10.0.0.0/8", s)
	}
	return p, nil
}

// Version is the version of this build; main sets it.
var Version = "dev"

// BasePath is the path of BASE_URL, without a slash at its end; empty for none.
func (c *Config) BasePath() string {
	u, err := url.Parse(c.BaseURL)
	if err != nil {
		return ""
	}
	return strings.TrimRight(u.Path, "/")
}

// OwnPaths are the first parts of this server's own addresses. A base path that begins with one of them could not be told
// from it.
var OwnPaths = []string{"account", "alerts", "api", "api-keys", "audit", "confirm", "dev", "docs", "events", "find", "healthz", "help",
	"invitations", "invite", "login", "logout", "metrics", "openapi.json", "p", "preferences", "readyz", "server", "setup", "static", "t",
	"tenants", "unsubscribe", "users"}

// FirstPart is the first part of a path: "t" of "/t/acme".
func FirstPart(path string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return first
}
