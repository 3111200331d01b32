// Package scripts_test tries the shell scripts that the tests of destination types rest on.
package scripts_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// bash runs a script in this directory and returns what it prints.
func bash(t *testing.T, script string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", append([]string{"-uc", script, "bash"}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, &stderr)
	}
	return strings.TrimSpace(string(out)), err
}

// TestFreePorts: no port is given that somebody listens on or has only bound, on any address, and none twice.
func TestFreePorts(t *testing.T) {
	t.Parallel()
	held, first := holdPorts(t, 40)
	ask := fmt.Sprintf(`. ./ports.sh; server_ports() { echo %d %d; }; `, first, first+39)
	free := map[string]bool{}
	for i, holder := range held {
		if holder == nil {
			free[strconv.Itoa(first+i)] = true
		}
	}
	out, err := bash(t, ask+`free_ports a b && free_ports c && echo $a $b $c`)
	if err != nil {
		t.Fatal(err)
	}
	for _, port := range strings.Fields(out) {
		if !free[port] {
			t.Errorf("port %s is given, of %s", port, out)
		}
		delete(free, port)
	}
	if len(free) > 0 {
		t.Errorf("%s is given, and not %v", out, free)
	}
	if out, err := bash(t, ask+`free_ports a b c && free_ports d`); err == nil || !strings.Contains(err.Error(), "no free port") {
		t.Errorf("a fourth one: %q, %v", out, err)
	}
}

// holdPorts holds all but three of n ports in a row: some with a listener on one address or all, some only bound. The
// holders of the three are nil.
func holdPorts(t *testing.T, n int) (holders []any, first int) {
	t.Helper()
	for first = 3000; first < 9000; first += n {
		holders = holders[:0]
		for i := range n {
			var l any
			var err error
			port := first + i
			if i%4 == 1 {
				l, err = bind(t, port)
			} else {
				var lc net.ListenConfig
				l, err = lc.Listen(t.Context(), "tcp", net.JoinHostPort([]string{"127.0.0.1", "", "localhost", "127.0.0.2"}[i%4],
					strconv.Itoa(port)))
			}
			if err != nil {
				break
			}
			holders = append(holders, l)
			if l, ok := l.(net.Listener); ok {
				t.Cleanup(func() { l.Close() })
			}
		}
		if len(holders) == n {
			for _, i := range []int{0, n / 2, n - 1} {
				if l, ok := holders[i].(net.Listener); ok {
					l.Close()
				}
				holders[i] = nil
			}
			return holders, first
		}
	}
	t.Fatalf("nowhere are %d ports in a row free", n)
	return nil, 0
}

// bind binds a port without listening, as a server does on its way up.
func bind(t *testing.T, port int) (int, error) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return 0, err
	}
	t.Cleanup(func() { syscall.Close(fd) })
	return fd, syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
}

// TestServerPorts: servers' ports are outside of those that outgoing connections get.
func TestServerPorts(t *testing.T) {
	t.Parallel()
	out, err := bash(t, `. ./ports.sh; server_ports`)
	if err != nil {
		t.Fatal(err)
	}
	var first, last, low, high int
	if _, err := fmt.Sscan(out, &first, &last); err != nil || first >= last {
		t.Fatalf("%q: %v", out, err)
	}
	limits, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if errors.Is(err, os.ErrNotExist) {
		return // not Linux: the range comes from sysctl
	}
	if _, err := fmt.Sscan(string(limits), &low, &high); err != nil {
		t.Fatal(err)
	}
	if first <= high && last >= low {
		t.Errorf("servers get %d to %d, outgoing connections %d to %d", first, last, low, high)
	}
}

// TestBrokersScript: a backend that does not come up is started again, in an empty directory; with the script ends
// whatever was started, a daemon too.
func TestBrokersScript(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"test-brokers.sh": read(t, "test-brokers.sh"), "ports.sh": read(t, "ports.sh"),
		"brokers/lost.sh": `
			packages_lost=./lost
			install_lost() { :; }
			start_lost() {
				[ ! -e "$1/before" ] && touch "$1/before" || return 1
				echo >>"$PWD/tries"
				if [ "$(wc -l <"$PWD/tries")" -lt 3 ]; then
					background "$1/log" false
				else
					background "$1/log" bash -c 'setsid sleep 1000 & echo $! >"$1/pid"; touch "$1/up"; wait' "$1/log" "$1"
				fi
				await test -e "$1/up" && export WAYBILL_TEST_LOST=$1
			}`,
		"brokers/never.sh": `
			install_never() { :; }
			start_never() { background "$1/log" false; await test -e "$1/up" || { echo "it does not start" >&2; return 1; }; }`,
	} {
		write(t, filepath.Join(dir, "scripts", name), content)
	}
	cmd := exec.CommandContext(t.Context(), "bash", filepath.Join(dir, "scripts/test-brokers.sh"), "--", "sh", "-c",
		`cat "$WAYBILL_TEST_LOST/pid"`)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	if tries := read(t, filepath.Join(dir, "tries")); tries != "\n\n\n" {
		t.Errorf("tried %d times", len(tries))
	}
	if !strings.Contains(stderr.String(), "never: it does not start") {
		t.Errorf("says %q", &stderr)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	// Killed is not yet gone.
	deadline := time.After(10 * time.Second)
	for alive(pid) {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			t.Fatalf("process %d is left behind", pid)
		}
	}
}

// alive reports whether a process runs; one that only waits to be collected does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
