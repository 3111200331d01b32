package bench

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/waybill-dev/waybill/internal/postgres"
)

// bencher is a server under measurement, with the sink that receives its deliveries.
type bencher struct {
	dir    string
	pg     *postgres.Server
	server *exec.Cmd
	base   string
	bases  []string // of several processes that accept, in place of base
	key    string
	client *fasthttp.Client
	sink   *fasthttp.Server
	host   string // of the sink
	secure string // the same, behind TLS
	pad    string // in the data of an event
	roots  string // the file of the certificate that the server is to trust

	mu       sync.Mutex
	latency  []float64            // of what came to /hook, in milliseconds
	second   map[string]time.Time // when the second attempt of an event came to /again
	first    map[string]bool
	received atomic.Int64
	refused  atomic.Int64 // what came to /mostly
	busy     atomic.Int64 // what came to /busy
	last     atomic.Int64
	tenants  int
	closing  chan struct{}
	kept     kept // what is in a database that an earlier run has kept
	stays    bool // dir is not removed
}

// startBench starts a server on a private PostgreSQL with these settings beside its own.
func startBench(ctx context.Context, settings map[string]string) (*bencher, error) {
	return startKept(ctx, "", settings)
}

// startKept is startBench with a database in dir, which stays when it stops; in a directory of its own that does not, when dir is
// empty.
func startKept(ctx context.Context, dir string, settings map[string]string) (b *bencher, err error) {
	b = &bencher{key: "wb_bench_key_0123456789abcdef", client: &fasthttp.Client{MaxConnsPerHost: 2000, ReadTimeout: time.Minute},
		closing: make(chan struct{})}
	defer func() {
		if err != nil {
			b.stop()
		}
	}()
	if dir != "" {
		err = b.findKept(dir)
	} else if b.dir, err = os.MkdirTemp("", "waybill-bench-"); err == nil {
		err = os.Chmod(b.dir, 0o755)
	}
	if err != nil {
		return b, err
	}
	ln, err := net.Listen("tcp", cmp.Or(b.kept.Sink, "127.0.0.1:0"))
	if err != nil {
		return b, err
	}
	b.host = "http://" + ln.Addr().String()
	b.sink = &fasthttp.Server{Handler: b.receive, NoDefaultServerHeader: true}
	go func() { _ = b.sink.Serve(ln) }() // ends with stop
	if err := b.serveTLS(); err != nil {
		return b, err
	}
	if b.pg, err = postgres.Start(ctx, postgres.Options{Dir: b.dir, Socket: true, Settings: settings}); err != nil {
		return b, err
	}
	return b, b.serve(ctx)
}

// serve starts the server and waits until it is at rest.
func (b *bencher) serve(ctx context.Context) (err error) {
	if b.server, b.base, err = b.launch(ctx, "serve", "DATABASE_URL="+b.pg.URL); err != nil {
		return err
	}
	b.base += apiPath
	if err := b.answers(); err != nil {
		return err
	}
	time.Sleep(2 * time.Second) // at rest
	return nil
}

// apiPath is where a server has its API.
const apiPath = "/api/v1"

// secretKey is the setting that all processes of a measurement share.
const secretKey = "SECRET_KEY=the key of a server that is measured"

// launch starts a process of the program, and returns its address. A worker has its health and metrics there.
func (b *bencher) launch(ctx context.Context, command string, env ...string) (p *exec.Cmd, address string, err error) {
	port, err := FreePort()
	if err != nil {
		return nil, "", err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	log, err := os.OpenFile(b.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, "", err
	}
	defer log.Close()
	at := fmt.Sprintf("127.0.0.1:%d", port)
	p = exec.CommandContext(ctx, exe, command)
	p.Cancel = func() error { return p.Process.Signal(os.Interrupt) }
	p.Env = append(append(os.Environ(), "PORT="+strconv.Itoa(port), "HOST=127.0.0.1", "DATA_DIR="+b.dir, "DATABASE_URL_DIRECT=",
		"API_KEY="+b.key, secretKey,
		"LOG_LEVEL=warn", "BASE_URL=http://"+at, "EGRESS_ALLOW=127.0.0.0/8,::1/128", "MAX_CONNECTIONS_PER_ADDRESS=0",
		"DESTINATION_LIMIT=0", "SSL_CERT_FILE="+b.roots), env...)
	if command == "work" {
		p.Env = append(p.Env, "METRICS_ADDR="+at)
	}
	p.Stdout, p.Stderr = log, log
	return p, "http://" + at, p.Start()
}

// log is the file that holds what processes say.
func (b *bencher) log() string { return filepath.Join(b.dir, "server.log") }

// answers waits until the process at base answers.
func (b *bencher) answers() error {
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if status, _, err := b.call("GET", "/tenants", nil); err == nil && status == 200 {
			return nil
		}
		if time.Now().After(deadline) {
			out, _ := os.ReadFile(b.log())
			return fmt.Errorf("the server did not start: %s", out)
		}
	}
}

// FreePort finds a port for a server that is about to start. It is one that the system does not give to outgoing
// connections, which could take it before the server does.
func FreePort() (int, error) {
	for {
		port := 20000 + rand.IntN(12000)
		ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		switch {
		case err == nil:
			return port, ln.Close()
		case !errors.Is(err, syscall.EADDRINUSE):
			return 0, err
		}
	}
}

func (b *bencher) stop() {
	close(b.closing)
	b.end(b.server)
	if b.sink != nil {
		_ = b.sink.Shutdown()
	}
	if b.pg != nil {
		_ = b.pg.Stop()
	}
	if !b.stays {
		_ = os.RemoveAll(b.dir)
	}
}

// receive is the sink. What comes to /hook is measured: the payload says when it was published. /hang answers after ten
// seconds, /fail refuses, /mostly does so 19 times of 20, /busy only counts,
// /close is /hook and ends the connection, and /again refuses the first attempt of every event.
func (b *bencher) receive(c *fasthttp.RequestCtx) {
	now := time.Now()
	switch string(c.Path()) {
	case "/hang":
		select {
		case <-time.After(10 * time.Second):
		case <-b.closing:
		}
		return
	case "/fail":
		c.SetStatusCode(500)
		return
	case "/mostly":
		if b.refused.Add(1)%20 > 0 {
			c.SetStatusCode(500)
		}
		return
	case "/busy":
		b.busy.Add(1)
		return
	case "/again":
		b.again(c, now)
		return
	case "/close":
		c.SetConnectionClose()
	}
	body := c.PostBody()
	if i := bytes.Index(body, []byte(`"sent_at_ns":`)); i >= 0 {
		rest := body[i+len(`"sent_at_ns":`):]
		end := bytes.IndexByte(rest, ',')
		if ns, err := strconv.ParseInt(string(rest[:max(end, 0)]), 10, 64); err == nil {
			b.mu.Lock()
			b.latency = append(b.latency, float64(now.UnixNano()-ns)/1e6)
			b.mu.Unlock()
		}
	}
	b.last.Store(now.UnixNano())
	b.received.Add(1)
	c.SetBodyString("ok")
}

func (b *bencher) again(c *fasthttp.RequestCtx, now time.Time) {
	id := string(c.Request.Header.Peek("webhook-id"))
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.first[id] {
		b.first[id] = true
		c.SetStatusCode(500)
	} else if b.second[id].IsZero() {
		b.second[id] = now
	}
}

func (b *bencher) call(method, path string, body any) (int, []byte, error) {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.SetRequestURI(b.base + path)
	req.Header.SetMethod(method)
	req.Header.Set("Authorization", "Bearer "+b.key)
	if body != nil {
		j, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		req.SetBody(j)
	}
	err := b.client.Do(req, resp)
	return resp.StatusCode(), bytes.Clone(resp.Body()), err
}

// must is call for what has to succeed with a status.
func (b *bencher) must(status int, method, path string, body any) ([]byte, error) {
	got, out, err := b.call(method, path, body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if got != status {
		return nil, fmt.Errorf("%s %s answered %d: %s", method, path, got, out)
	}
	return out, nil
}

// processesBelow calls see with the number of every process that the one called root has started, of all that these have
// started, and of root itself when it is not this process, which is the load.
func processesBelow(root int, see func(pid int)) {
	children := map[int][]int{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if f := ProcStat(pid); len(f) > 1 {
			ppid, _ := strconv.Atoi(f[1])
			children[ppid] = append(children[ppid], pid)
		}
	}
	var walk func(pid int)
	walk = func(pid int) {
		if pid != os.Getpid() {
			see(pid)
		}
		for _, child := range children[pid] {
			walk(child)
		}
	}
	walk(root)
}

// ProcStat is /proc/pid/stat from the third field on, the process's state; nil where there is no such process.
func ProcStat(pid int) []string {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.Fields(rest)
}

// memory is the proportional set size of the server and PostgreSQL, in bytes; 0 where the kernel does not tell.
func (b *bencher) memory() int64 { return memoryBelow(os.Getpid()) } // both are children of this one

// memoryBelow is memory for the processes from root on.
func memoryBelow(root int) (total int64) {
	processesBelow(root, func(pid int) {
		rollup, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		for line := range strings.Lines(string(rollup)) {
			if v, ok := strings.CutPrefix(line, "Pss:"); ok {
				kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
				total += kb << 10
			}
		}
	})
	return total
}

// clockTick is the unit of processor times in /proc; the kernel's interface fixes it for all of Linux.
const clockTick = 10 * time.Millisecond

// cpu is how much processor time the server and PostgreSQL have used so far; 0 where the kernel does not tell. It counts
// also those of PostgreSQL's processes that have ended, through their parent.
func (b *bencher) cpu() time.Duration { return CPUBelow(os.Getpid()) }

// CPUBelow is how much processor time a process and all that it has started have used so far; 0 where the kernel does not tell.
func CPUBelow(root int) (total time.Duration) {
	processesBelow(root, func(pid int) {
		if f := ProcStat(pid); len(f) > 14 {
			for _, field := range f[11:15] { // utime, stime, cutime, cstime
				ticks, _ := strconv.ParseInt(field, 10, 64)
				total += time.Duration(ticks) * clockTick
			}
		}
	})
	return total
}
