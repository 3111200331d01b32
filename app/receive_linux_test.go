package app

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/models/modelstest"
)

// TestSlowBodies holds 2,000 connections that announce 8 MiB each, as those do who wish to exhaust the memory.
func TestSlowBodies(t *testing.T) {
	t.Parallel()
	const connections = 2000
	most := 300 << 20 // it was 7 GiB once
	if raced {
		most *= 3
	}
	p := startProcess(t, "web", "DATABASE_URL="+modelstest.DB(t), "MAX_CONNECTIONS_PER_ADDRESS=0", "READ_TIMEOUT=1m")
	at := strings.TrimPrefix(p.base, "http://")
	for i := range connections {
		s := sendTo(t, at)
		switch i % 3 {
		case 0:
			s.send("%sContent-Length: 8388608\r\n\r\n{\"a\":", publishHead) // is refused, and held for a moment
		case 1:
			s.send("%sContent-Length: 8388608\r\n\r\n", publishHead) // no byte of the body
		case 2:
			s.send("%sContent-Length: 8192\r\n\r\n%s", publishHead, strings.Repeat(" ", 8000)) // the most that is read of anybody
		}
	}
	resp, err := http.Get(p.base + "/readyz")
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	_ = resp.Body.Close()
	if peak := peakMemory(t, p.cmd.Process.Pid); peak > most {
		t.Errorf("%d connections take %d MiB", connections, peak>>20)
	} else {
		t.Logf("%d connections: %d MiB at most", connections, peak>>20)
	}
}

// peakMemory is the greatest resident set of a process so far, in bytes.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(b), "VmHWM:")
	kb, err := strconv.Atoi(strings.Fields(after)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}
