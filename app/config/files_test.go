package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestConfigFiles reads secrets from files: those that variables name, and systemd's credentials.
func TestConfigFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const key, url = "0123456789abcdefghijklmnopqrstuv", "postgres://waybill:hunter2@db/waybill"
	read := func(env map[string]string) (*Config, error) {
		return ReadConfig("web", func(name string) string { return env[name] })
	}

	secret, database := file("secret", key+"\n"), file("waybill.DATABASE_URL", url+"\n")
	c, err := read(map[string]string{"SECRET_KEY_FILE": secret, "CREDENTIALS_DIRECTORY": dir})
	if err != nil || c.SecretKey != key || c.DatabaseURL != url {
		t.Fatalf("SECRET_KEY_FILE and a credential: %+v, %v", c, err)
	}
	other := file("other", "postgres://other@db/waybill")
	if c, err = read(map[string]string{"SECRET_KEY": key, "DATABASE_URL_FILE": other, "CREDENTIALS_DIRECTORY": dir}); err != nil ||
		c.DatabaseURL != "postgres://other@db/waybill" {
		t.Errorf("DATABASE_URL_FILE beside a credential: %v, %v", c, err)
	}
	if c, err = read(map[string]string{"SECRET_KEY": key, "DATABASE_URL": "postgres://env@db/waybill",
		"CREDENTIALS_DIRECTORY": dir}); err != nil || c.DatabaseURL != "postgres://env@db/waybill" {
		t.Errorf("DATABASE_URL beside a credential: %v, %v", c, err)
	}
	if c, err = read(map[string]string{"SECRET_KEY": key, "DATABASE_URL": url, "PORT_FILE": file("port", "4711")}); err != nil ||
		c.Port != 4711 {
		t.Errorf("PORT_FILE: %v, %v", c, err)
	}
	headers := file("headers", "authorization=Bearer%20x")
	if c, err = read(map[string]string{"SECRET_KEY": key, "DATABASE_URL": url,
		"OTEL_EXPORTER_OTLP_TRACES_HEADERS_FILE": headers}); err != nil || c.OTLP.Headers["authorization"] != "Bearer x" {
		t.Errorf("OTEL_EXPORTER_OTLP_TRACES_HEADERS_FILE: %v, %v", c, err)
	}

	for _, wrong := range []struct {
		env  map[string]string
		want string
	}{
		{map[string]string{"SECRET_KEY": key, "SECRET_KEY_FILE": secret},
			"SECRET_KEY: give either SECRET_KEY or SECRET_KEY_FILE, not both"},
		{map[string]string{"SECRET_KEY_FILE": filepath.Join(dir, "none")},
			"SECRET_KEY: SECRET_KEY_FILE: stat " + filepath.Join(dir, "none")},
		{map[string]string{"SECRET_KEY_FILE": file("empty", " \n")}, "empty is empty"},
		{map[string]string{"SECRET_KEY_FILE": dir}, "is a directory; name the file in it"},
		{map[string]string{"SECRET_KEY_FILE": file("large", strings.Repeat("x", 70_000))}, "is larger than 64 KiB"},
		{map[string]string{"SECRET_KEY_FILE": file("short", "hunter2")}, "SECRET_KEY: must be at least"},
		{map[string]string{"SECRET_KEY": key, "OTEL_EXPORTER_OTLP_TRACES_HEADERS_FILE": filepath.Join(dir, "none")},
			"OTEL_EXPORTER_OTLP_TRACES_HEADERS: OTEL_EXPORTER_OTLP_TRACES_HEADERS_FILE: stat"},
	} {
		wrong.env["DATABASE_URL_FILE"] = database
		_, err := read(wrong.env)
		if err == nil || !strings.Contains(err.Error(), wrong.want) || strings.Contains(err.Error(), "\n") ||
			strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v gives %v, not one line with %q", wrong.env, err, wrong.want)
		}
	}
}
