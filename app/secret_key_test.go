package app

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/modelstest"
)

// TestSecretKeyIsTheOneOfBefore starts servers with another SECRET_KEY than the database was used with: each refuses and says
// what to do, until the one of before is there too. So it is with a database from before there was a check value, whose
// credentials serve instead.
func TestSecretKeyIsTheOneOfBefore(t *testing.T) {
	t.Parallel()
	const other = "another secret that is long enough"
	url, first := modelstest.DB(t), "a secret for tests that is long enough"
	start := func(role, key string, older ...string) error {
		t.Helper()
		cfg, err := config.ReadConfig(role, func(name string) string {
			return map[string]string{"DATABASE_URL": url, "SECRET_KEY": key, "SECRET_KEY_PREVIOUS": strings.Join(older, ","),
				"API_KEY": testKey, "HOST": "127.0.0.1", "BASE_URL": "http://localhost"}[name]
		})
		if err != nil {
			t.Fatal(err)
		}
		wrong, unknown := checkKey(context.Background(), cfg) // what check-config says is what the server does
		if unknown != nil {
			t.Error(unknown)
		}
		a, err := New(context.Background(), cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			if wrong == nil {
				t.Errorf("check-config calls fine what is refused with %v", err)
			}
			return err
		}
		defer a.Close()
		if wrong != nil {
			t.Errorf("check-config refuses what works: %v", wrong)
		}
		if older == nil { // something sealed with the key in force
			_, _, err = a.Store.PutTenant(context.Background(), "acme", nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = a.Store.CreateDestination(context.Background(), models.AllTenants(), "acme", models.DestinationInput{
				Patch: models.DestinationPatch{"type": "webhook", "topics": "*",
					"config": map[string]string{"url": "https://example.com"}}})
			if err != nil {
				t.Fatal(err)
			}
		}
		return nil
	}
	refused := func(err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "SECRET_KEY is not the one that this database was used with") ||
			!strings.Contains(err.Error(), "SECRET_KEY_PREVIOUS") {
			t.Errorf("with another key: %v", err)
		}
	}
	if err := start("web", first); err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{"web", "work", "serve"} {
		refused(start(role, other))
	}
	p := &patient{T: t, url: url, key: other}
	if got := strings.Join(ill(p.see(false)), "\n"); !strings.Contains(got,
		"fail secrets: SECRET_KEY does not open the credentials of 1 of 1 destinations") {
		t.Errorf("the doctor finds %s", got)
	}
	forget := func() {
		t.Helper()
		keys := &testApp{TB: t, db: modelstest.Connect(t, url), App: &App{API: &api.API{Store: openedStore(t, url)}}}
		keys.exec("delete from settings where key = 'secret_key_check'")
	}
	forget() // as in a database of an earlier release
	refused(start("web", other))
	if err := start("web", first); err != nil {
		t.Fatal(err)
	}
	refused(start("web", other))
	// The key is changed, and some day the one of before is taken away: what is sealed with it is found by the doctor.
	if err := start("web", other, first); err != nil {
		t.Fatal(err)
	}
	if err := start("web", other); err != nil {
		t.Fatal(err)
	}
	refused(start("web", first))
	// A key that is lost for good.
	t.Run("new-key", func(t *testing.T) {
		var out bytes.Buffer
		env := map[string]string{"DATABASE_URL": url, "SECRET_KEY": "the third secret, long enough"}
		if err := newKey(context.Background(), func(name string) string { return env[name] }, &out); err != nil {
			t.Fatal(err)
		}
		if err := start("web", env["SECRET_KEY"]); err != nil {
			t.Error(err)
		}
	})
}

func openedStore(t *testing.T, url string) *models.Store {
	t.Helper()
	cfg := &config.Config{DatabaseURL: url, SecretKey: "a secret for tests that is long enough"}
	s, err := openSmall(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}
