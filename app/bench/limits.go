package bench

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/valyala/fasthttp"

	"github.com/waybill-dev/waybill/jobs"
)

// limits measures what this machine can do at most of each thing that an event needs, so that the figures of the cases
// can be judged.
func (b *bencher) limits(ctx context.Context, stdout io.Writer) error {
	cfg, err := pgxpool.ParseConfig(b.pg.URL)
	if err != nil {
		return err
	}
	cfg.MaxConns = committing
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer pool.Close()
	commits, err := commitRate(ctx, pool)
	if err != nil {
		return fmt.Errorf("measure commits: %w", err)
	}
	queue, err := jobs.EmptyRate(ctx, b.pg.URL, 20_000)
	if err != nil {
		return fmt.Errorf("measure jobs: %w", err)
	}
	fmt.Fprintf(stdout, "limits of this machine: %.0f commits/s of one row of 1 KiB, %.0f empty River jobs/s, %.0f posts/s of 1 KiB to the sink\n",
		commits, queue, b.postRate(ctx))
	return nil
}

const limitTime = 3 * time.Second

// limitBody is what limits are measured with.
var limitBody = strings.Repeat("x", 830)

// committing is how many connections commit at once.
const committing = 32

// commitRate is how many transactions a second can be committed that insert one row of 1 KiB.
func commitRate(ctx context.Context, pool *pgxpool.Pool) (float64, error) {
	if _, err := pool.Exec(ctx, "create table bench_commits (id bigint generated always as identity primary key, data text)"); err != nil {
		return 0, err
	}
	defer func() { _, _ = pool.Exec(ctx, "drop table bench_commits") }()
	var failed atomic.Pointer[error]
	rate := rateOf(committing, func() bool {
		if _, err := pool.Exec(ctx, "insert into bench_commits (data) values ($1)", limitBody); err != nil {
			failed.Store(&err)
			return false
		}
		return true
	})
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return rate, nil
}

// postRate is how many posts a second 64 clients can make to the sink.
func (b *bencher) postRate(ctx context.Context) float64 {
	var mu sync.Mutex
	var idle []*fasthttp.Request
	return rateOf(64, func() bool {
		mu.Lock()
		var req *fasthttp.Request
		if n := len(idle); n > 0 {
			req, idle = idle[n-1], idle[:n-1]
		}
		mu.Unlock()
		if req == nil {
			req = &fasthttp.Request{}
			req.SetRequestURI(b.host + "/post")
			req.Header.SetMethod("POST")
			req.SetBodyString(limitBody)
		}
		err := b.client.Do(req, nil)
		mu.Lock()
		idle = append(idle, req)
		mu.Unlock()
		return err == nil && ctx.Err() == nil
	})
}

// rateOf calls fn from so many goroutines for a while, and returns the calls a second.
func rateOf(goroutines int, fn func() bool) float64 {
	var n atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for range goroutines {
		wg.Go(func() {
			for time.Since(start) < limitTime && fn() {
				n.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(n.Load()) / time.Since(start).Seconds()
}
