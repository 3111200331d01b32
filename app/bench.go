package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// benchCase is one measurement.
type benchCase struct {
	name       string
	publishers int
	events     int
	rate       int // events per second; 0 for as fast as they go
	fanOut     int // destinations of the tenant
}

var benchCases = []benchCase{
	{"one", 64, 40_000, 0, 1},
	{"fanout", 64, 8_000, 0, 10},
	{"steady", 64, 4_000, 200, 1},
	{"few", 16, 20_000, 0, 1},
	{"many", 256, 60_000, 0, 1},
}

// bench measures this machine: it starts a server of its own as a child process with a private PostgreSQL, a sink, and
// publishers over HTTP. Load and sink run in this process, on the same cores.
func bench(ctx context.Context, args []string, stdout io.Writer) error {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stdout)
	names := fs.String("case", "one,fanout,steady", "cases to run, comma-separated: one, fanout, steady, few (16 publishers), many (256 publishers)")
	runs := fs.Int("runs", 1, "runs of each case; medians are printed when there are several")
	scale := fs.Float64("scale", 1, "number of events, as a multiple of the usual")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	var cases []benchCase
	for _, n := range strings.Split(*names, ",") {
		i := slices.IndexFunc(benchCases, func(c benchCase) bool { return c.name == n })
		if i < 0 {
			return fmt.Errorf("there is no case %q", n)
		}
		cases = append(cases, benchCases[i])
	}
	b, err := startBench(ctx)
	if err != nil {
		return err
	}
	defer b.stop()
	fmt.Fprintf(stdout, "1 KiB events, default durability, everything recorded; load and sink on the same %s cores\n", cpus())
	fmt.Fprintf(stdout, "memory at rest: %d MiB (server and PostgreSQL, PSS)\n\n", b.memory()>>20)
	fmt.Fprintf(stdout, "%-8s %10s %11s %12s %27s %17s %8s\n", "case", "publishers", "accepted/s", "delivered/s", "end to end p50/p95/p99/max", "publish p50/p99", "memory")
	for _, c := range cases {
		c.events = max(1, int(float64(c.events)**scale))
		var all []benchResult
		for range *runs {
			r, err := b.run(ctx, c)
			if err != nil {
				return fmt.Errorf("case %s: %w", c.name, err)
			}
			all = append(all, r)
			fmt.Fprintln(stdout, r.line(c))
		}
		if *runs > 1 {
			fmt.Fprintln(stdout, medianResult(all).line(benchCase{name: "median", publishers: c.publishers}))
		}
	}
	return nil
}

func cpus() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "CPU"
	}
	return strconv.Itoa(bytes.Count(b, []byte("processor\t:")))
}

// benchResult is what one run measured; times in milliseconds.
type benchResult struct {
	accepted, delivered float64
	e2e                 [4]float64 // p50, p95, p99, max
	publish             [2]float64 // p50, p99
	memory              float64    // MiB
}

func (r benchResult) line(c benchCase) string {
	return fmt.Sprintf("%-8s %10d %11.0f %12.0f %27s %17s %4.0f MiB", c.name, c.publishers, r.accepted, r.delivered,
		fmt.Sprintf("%.1f/%.1f/%.1f/%.1f ms", r.e2e[0], r.e2e[1], r.e2e[2], r.e2e[3]), fmt.Sprintf("%.1f/%.1f ms", r.publish[0], r.publish[1]), r.memory)
}

func medianResult(all []benchResult) (m benchResult) {
	med := func(get func(*benchResult) *float64) {
		var v []float64
		for i := range all {
			v = append(v, *get(&all[i]))
		}
		slices.Sort(v)
		*get(&m) = v[len(v)/2]
	}
	med(func(r *benchResult) *float64 { return &r.accepted })
	med(func(r *benchResult) *float64 { return &r.delivered })
	for i := range m.e2e {
		med(func(r *benchResult) *float64 { return &r.e2e[i] })
	}
	for i := range m.publish {
		med(func(r *benchResult) *float64 { return &r.publish[i] })
	}
	med(func(r *benchResult) *float64 { return &r.memory })
	return m
}

// bencher is a server under measurement, with the sink that receives its deliveries.
type bencher struct {
	dir    string
	server *exec.Cmd
	base   string
	key    string
	client *fasthttp.Client
	sink   *fasthttp.Server
	hook   string

	mu       sync.Mutex
	latency  []float64
	received atomic.Int64
	last     atomic.Int64
	tenants  int
}

func startBench(ctx context.Context) (b *bencher, err error) {
	b = &bencher{key: "wb_bench_key_0123456789abcdef", client: &fasthttp.Client{MaxConnsPerHost: 2000, ReadTimeout: time.Minute}}
	defer func() {
		if err != nil {
			b.stop()
		}
	}()
	if b.dir, err = os.MkdirTemp("", "waybill-bench-"); err != nil {
		return b, err
	}
	if err := os.Chmod(b.dir, 0o755); err != nil {
		return b, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return b, err
	}
	b.hook = "http://" + ln.Addr().String() + "/hook"
	b.sink = &fasthttp.Server{Handler: b.receive, NoDefaultServerHeader: true}
	go func() { _ = b.sink.Serve(ln) }() // ends with stop
	port, err := freePort()
	if err != nil {
		return b, err
	}
	b.base = fmt.Sprintf("http://127.0.0.1:%d/api/v1", port)
	exe, err := os.Executable()
	if err != nil {
		return b, err
	}
	log, err := os.Create(filepath.Join(b.dir, "server.log"))
	if err != nil {
		return b, err
	}
	defer log.Close()
	b.server = exec.CommandContext(ctx, exe, "serve")
	b.server.Cancel = func() error { return b.server.Process.Signal(os.Interrupt) }
	b.server.Env = append(os.Environ(), "PORT="+strconv.Itoa(port), "HOST=127.0.0.1", "DATA_DIR="+b.dir, "API_KEY="+b.key, "LOG_LEVEL=warn", "BASE_URL=",
		"EGRESS_ALLOW=127.0.0.0/8")
	b.server.Stdout, b.server.Stderr = log, log
	if err := b.server.Start(); err != nil {
		return b, err
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		status, _, err := b.call("GET", "/tenants", nil)
		if err == nil && status == 200 {
			break
		}
		if time.Now().After(deadline) {
			out, _ := os.ReadFile(log.Name())
			return b, fmt.Errorf("the server did not start: %s", out)
		}
		time.Sleep(20 * time.Millisecond)
	}
	time.Sleep(2 * time.Second) // at rest
	return b, nil
}

func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

func (b *bencher) stop() {
	if b.server != nil && b.server.Process != nil {
		_ = b.server.Process.Signal(os.Interrupt)
		_ = b.server.Wait()
	}
	if b.sink != nil {
		_ = b.sink.Shutdown()
	}
	_ = os.RemoveAll(b.dir)
}

// receive is the sink: it takes the time at which the event was published from the payload.
func (b *bencher) receive(c *fasthttp.RequestCtx) {
	now := time.Now()
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

// prepare makes a tenant of its own for a run, with its destinations.
func (b *bencher) prepare(c benchCase) (tenant string, err error) {
	b.tenants++
	tenant = fmt.Sprintf("bench-%d", b.tenants)
	if status, out, err := b.call("PUT", "/tenants/"+tenant, nil); err != nil || status != 201 {
		return "", fmt.Errorf("make a tenant: %d %s %w", status, out, err)
	}
	for range c.fanOut {
		status, out, err := b.call("POST", "/tenants/"+tenant+"/destinations", map[string]any{"type": "webhook", "topics": "*", "config": map[string]string{"url": b.hook}})
		if err != nil || status != 201 {
			return "", fmt.Errorf("make a destination: %d %s %w", status, out, err)
		}
	}
	b.mu.Lock()
	b.latency = b.latency[:0]
	b.mu.Unlock()
	b.received.Store(0)
	return tenant, nil
}

func (b *bencher) run(ctx context.Context, c benchCase) (r benchResult, err error) {
	tenant, err := b.prepare(c)
	if err != nil {
		return r, err
	}
	pad := strings.Repeat("x", 900)
	var next, failures atomic.Int64
	var mu sync.Mutex
	var took []float64
	var wg sync.WaitGroup
	start := time.Now()
	for range c.publishers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			var mine []float64
			req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
			defer fasthttp.ReleaseRequest(req)
			defer fasthttp.ReleaseResponse(resp)
			req.SetRequestURI(b.base + "/publish")
			req.Header.SetMethod("POST")
			req.Header.SetContentType("application/json")
			req.Header.Set("Authorization", "Bearer "+b.key)
			for ctx.Err() == nil {
				k := next.Add(1)
				if k > int64(c.events) {
					break
				}
				if c.rate > 0 {
					time.Sleep(time.Until(start.Add(time.Duration(float64(k) / float64(c.rate) * 1e9))))
				}
				at := time.Now()
				req.SetBodyString(fmt.Sprintf(`{"tenant_id":%q,"topic":"order.created","data":{"seq":%d,"sent_at_ns":%d,"pad":%q}}`, tenant, k, at.UnixNano(), pad))
				if err := b.client.Do(req, resp); err != nil || resp.StatusCode() != 202 {
					failures.Add(1)
				}
				mine = append(mine, float64(time.Since(at).Microseconds())/1000)
			}
			mu.Lock()
			took = append(took, mine...)
			mu.Unlock()
		}()
	}
	wg.Wait()
	accepted := time.Since(start)
	if n := failures.Load(); n > 0 {
		return r, fmt.Errorf("%d of %d events were not accepted", n, c.events)
	}
	want := int64(c.events * c.fanOut)
	for deadline := time.Now().Add(2 * time.Minute); b.received.Load() < want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) || ctx.Err() != nil {
			return r, fmt.Errorf("%d of %d deliveries arrived", b.received.Load(), want)
		}
	}
	delivered := time.Unix(0, b.last.Load()).Sub(start)
	r.accepted = float64(c.events) / accepted.Seconds()
	r.delivered = float64(want) / delivered.Seconds()
	b.mu.Lock()
	r.e2e = [4]float64{percentile(b.latency, .5), percentile(b.latency, .95), percentile(b.latency, .99), percentile(b.latency, 1)}
	b.mu.Unlock()
	r.publish = [2]float64{percentile(took, .5), percentile(took, .99)}
	r.memory = float64(b.memory() >> 20)
	return r, nil
}

// percentile sorts v and returns its value at q, from 0 to 1.
func percentile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return v[int(q*float64(len(v)-1))]
}

// memory is the proportional set size of the server and everything it started, in bytes; 0 where the kernel does not
// tell.
func (b *bencher) memory() (total int64) {
	children := map[int][]int{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		_, rest, ok := strings.Cut(string(stat), ") ")
		if f := strings.Fields(rest); ok && len(f) > 1 {
			ppid, _ := strconv.Atoi(f[1])
			children[ppid] = append(children[ppid], pid)
		}
	}
	var add func(pid int)
	add = func(pid int) {
		rollup, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		for line := range strings.Lines(string(rollup)) {
			if v, ok := strings.CutPrefix(line, "Pss:"); ok {
				kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
				total += kb << 10
			}
		}
		for _, child := range children[pid] {
			add(child)
		}
	}
	add(b.server.Process.Pid)
	return total
}
