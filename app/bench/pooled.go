package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"time"

	"github.com/jackc/pgx/v5"
)

// bouncerConnections is how many connections to PostgreSQL PgBouncer has in measurePooled; two web open up to 36 without it.
const bouncerConnections = 20

// errNoPgBouncer says that a case needs what is not on this machine.
var errNoPgBouncer = errors.New("not measured, for PgBouncer is not on this machine: apt-get install pgbouncer, or name the program in PGBOUNCER")

// measureApart measures two processes that accept and two that deliver, all on one PostgreSQL by TCP.
func measureApart(ctx context.Context, b *bencher, c benchCase) (benchResult, error) {
	address, err := b.byTCP()
	if err != nil {
		return benchResult{}, err
	}
	return b.apart(ctx, c, "DATABASE_URL="+address)
}

// measurePooled is measureApart with a PgBouncer in transaction mode between PostgreSQL and those that accept.
func measurePooled(ctx context.Context, b *bencher, c benchCase) (r benchResult, err error) {
	if FindPgBouncer() == "" {
		return r, errNoPgBouncer
	}
	address, err := b.byTCP()
	if err != nil {
		return r, err
	}
	pooler, err := NewPgBouncer(b.dir, address, "transaction", bouncerConnections)
	if err != nil {
		return r, err
	}
	defer pooler.Kill()
	return b.apart(ctx, c, "DATABASE_URL="+pooler.URL, "DATABASE_URL_DIRECT="+address)
}

// byTCP is PostgreSQL's address without the socket, as processes on other machines have it.
func (b *bencher) byTCP() (string, error) {
	cfg, err := pgx.ParseConfig(b.pg.URL)
	if err != nil {
		return "", err
	}
	u := url.URL{Scheme: "postgres", User: url.UserPassword(cfg.User, cfg.Password), Host: net.JoinHostPort("127.0.0.1", fmt.Sprint(cfg.Port)),
		Path: "/" + cfg.Database, RawQuery: "sslmode=disable"}
	return u.String(), nil
}

// apart measures with two web and two work in place of the server, which is started again afterwards.
func (b *bencher) apart(ctx context.Context, c benchCase, env ...string) (r benchResult, err error) {
	b.end(b.server)
	base := b.base
	var running []*exec.Cmd
	defer func() {
		for _, p := range running {
			b.end(p)
		}
		b.base, b.bases = base, nil
		err = errors.Join(err, b.serve(ctx))
	}()
	var bases []string
	for _, command := range []string{"web", "web", "work", "work"} {
		p, address, err := b.launch(ctx, command, env...)
		if err != nil {
			return r, err
		}
		running = append(running, p)
		if command == "web" {
			bases = append(bases, address+apiPath)
		}
	}
	for _, base := range bases {
		b.base = base
		if err := b.answers(); err != nil {
			return r, err
		}
	}
	b.bases = bases
	if err := b.workersAlive(ctx, 2); err != nil {
		return r, err
	}
	return measure(ctx, b, c)
}

// end stops a process and waits for it.
func (*bencher) end(p *exec.Cmd) {
	if p == nil || p.Process == nil {
		return
	}
	_ = p.Process.Signal(os.Interrupt)
	_ = p.Wait()
}

// workersAlive waits until n processes work, and others that did are forgotten.
func (b *bencher) workersAlive(ctx context.Context, n int) error {
	conn, err := pgx.Connect(ctx, b.pg.URL)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		var alive int
		if err := conn.QueryRow(ctx, "select count(*) from processes where seen_at > now() - interval '2 seconds' and role = 'work'").Scan(&alive); err != nil {
			return err
		}
		if alive == n {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d workers are alive", alive, n)
		}
	}
}
