package migrations

import (
	"testing"

	"github.com/waybill-dev/waybill/internal/dbconn"
	"github.com/waybill-dev/waybill/internal/postgres"
)

// TestLockOfALostMachine: PostgreSQL gives up the session that keeps other migrations waiting, soon after its machine is gone.
func TestLockOfALostMachine(t *testing.T) {
	t.Parallel()
	server, err := postgres.StartTemporary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Stop() }()
	cfg, err := dbconn.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := connectToLock(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var got string
	if err := conn.QueryRow(t.Context(), "select concat_ws(' ', current_setting('tcp_keepalives_idle'), current_setting('tcp_user_timeout'))").Scan(&got); err != nil ||
		got != "10 25s" && got != "10 25000" {
		t.Errorf("the session has %q, %v", got, err)
	}
}
