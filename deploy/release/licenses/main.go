// Command licenses looks at the licences of what is in the program that is not ours: the Go modules that are linked into it on
// any platform of a release, Go's own library, and what of npm packages is in static/. It fails when one is under a licence that is
// not allowed or cannot be told, and when THIRD-PARTY-NOTICES.txt, which releases bring along, is not what these ask for.
//
//	licenses ROOT           checks
//	licenses -write ROOT    writes THIRD-PARTY-NOTICES.txt
package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/go-enry/go-license-detector/v4/licensedb"
	"github.com/go-enry/go-license-detector/v4/licensedb/filer"
)

// allowed are the licences (SPDX) under which others' code may be in the program. They ask for their text to come along, and not
// that the program be under the same.
var allowed = []string{"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "ISC", "MIT", "MIT-0", "MPL-2.0",
	"OFL-1.1", "Unlicense", "Zlib"}

// platforms are those of releases; what is linked differs.
var platforms = []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64"}

// shipped are the npm packages of which something is in static/, and the font, whose licence is beside it.
var shipped = []string{"htmx.org", "lucide-static", "tailwindcss"}

// sure is from which likeness on a text counts as a licence's. Texts of MIT with another head than usual have 0.85.
const sure = 0.84

// byHand are licences that somebody has read: the detector takes the Go authors' BSD text for a rare one. BSD-0-Clause is what
// htmx calls 0BSD.
func byHand(name string) []string {
	switch {
	case name == "Go" || strings.HasPrefix(name, "golang.org/x/"):
		return []string{"BSD-3-Clause"}
	case name == "htmx.org":
		return []string{"0BSD"}
	}
	return nil
}

// part is something that is in the program.
type part struct {
	name, version, dir string
	says               []string // licences that it names itself; nil for none
	texts              map[string][]byte
}

func main() {
	write := flag.Bool("write", false, "write THIRD-PARTY-NOTICES.txt")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: licenses [-write] ROOT")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), *write); err != nil {
		fmt.Fprintln(os.Stderr, "licenses:", err)
		os.Exit(1)
	}
}

func run(root string, write bool) error {
	parts, err := goParts(root)
	if err != nil {
		return err
	}
	npm, err := npmParts(root)
	if err != nil {
		return err
	}
	var bad []string
	found := map[string][]string{} // by name
	for _, p := range slices.Concat(parts, npm) {
		names, err := p.licences()
		if err != nil {
			bad = append(bad, p.name+" "+p.version+": "+err.Error())
			continue
		}
		found[p.name] = names
		for _, n := range names {
			if !slices.Contains(allowed, n) {
				bad = append(bad, p.name+" "+p.version+" is under "+n)
			}
		}
	}
	if len(bad) > 0 {
		return errors.New("these may not be in the program, or somebody has to look at them:\n  " + strings.Join(bad, "\n  "))
	}
	text, path := notices(slices.Concat(parts, npm), found), filepath.Join(root, "THIRD-PARTY-NOTICES.txt")
	if write {
		return os.WriteFile(path, text, 0o644)
	}
	if have, err := os.ReadFile(path); err != nil || !bytes.Equal(have, text) {
		return errors.New("THIRD-PARTY-NOTICES.txt is not up to date: run `make licenses ARGS=-write` and commit it")
	}
	fmt.Printf("%d Go modules and %d npm packages, all under licences that are allowed; THIRD-PARTY-NOTICES.txt has them.\n", len(parts),
		len(npm))
	return nil
}

// goParts are the modules that are linked into the program, and Go's library.
func goParts(root string) ([]part, error) {
	all := map[string]part{}
	for _, platform := range platforms {
		goos, arch, _ := strings.Cut(platform, "/")
		cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Version}}\t{{.Dir}}{{end}}{{end}}", ".")
		cmd.Dir, cmd.Stderr = root, os.Stderr
		cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+arch, "CGO_ENABLED=0", "GOFLAGS=-mod=readonly")
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("list what is linked: %w", err)
		}
		for line := range strings.Lines(string(out)) {
			if f := strings.Split(strings.TrimSpace(line), "\t"); len(f) == 3 {
				all[f[0]] = part{name: f[0], version: f[1], dir: f[2]}
			}
		}
	}
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, err
	}
	all["Go"] = part{name: "Go", version: "standard library", dir: strings.TrimSpace(string(out))}
	parts := slices.SortedFunc(maps.Values(all), func(a, b part) int { return cmp.Compare(a.name, b.name) })
	for i := range parts {
		if parts[i].texts, err = texts(parts[i].dir); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// npmParts are the packages of which something is in static/. Their versions are those of package.json.
func npmParts(root string) ([]part, error) {
	var parts []part
	for _, name := range shipped {
		dir := filepath.Join(root, "node_modules", name)
		b, err := os.ReadFile(filepath.Join(dir, "package.json"))
		if err != nil {
			return nil, fmt.Errorf("%s is not installed: run scripts/npm-packages.sh all", name)
		}
		var about struct{ Version, License string }
		if err := json.Unmarshal(b, &about); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		p := part{name: name, version: about.Version, dir: dir, says: []string{about.License}}
		if p.texts, err = texts(dir); err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	font, err := os.ReadFile(filepath.Join(root, "static", "inter.LICENSE.txt"))
	if err != nil {
		return nil, err
	}
	return append(parts, part{name: "Inter", version: "typeface", says: []string{"OFL-1.1"},
		texts: map[string][]byte{"inter.LICENSE.txt": font}}), nil
}

var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|unlicense|patents)([-._].*)?$`)

// texts are the files of a directory with licences and notices, by their names.
func texts(dir string) (map[string][]byte, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for _, f := range files {
		if f.IsDir() || !licenceFile.MatchString(f.Name()) || strings.HasSuffix(f.Name(), ".go") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return nil, err
		}
		out[f.Name()] = b
	}
	return out, nil
}

// licences are those of a part: what it says itself, or what its texts are alike.
func (p part) licences() ([]string, error) {
	if len(p.texts) == 0 {
		return nil, errors.New("has no text of a licence")
	}
	if read := byHand(p.name); read != nil {
		return read, nil
	}
	if p.says != nil {
		return p.says, nil
	}
	matches, err := licensedb.Detect(files(p.texts))
	if err != nil {
		return nil, err
	}
	// Of the likest, for texts are alike one another; of several files each may be under one of its own.
	best := map[string]float32{}
	of := map[string]string{}
	for name, m := range matches {
		name = strings.TrimSuffix(strings.TrimSuffix(name, "-only"), "-or-later")
		for file, confidence := range m.Files {
			if confidence > best[file] || confidence == best[file] && (of[file] == "" || slices.Contains(allowed, name) &&
				!slices.Contains(allowed, of[file])) {
				best[file], of[file] = confidence, name
			}
		}
	}
	var out []string
	for file, name := range of {
		if best[file] >= sure {
			out = append(out, name)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("its licence cannot be told: likest are %v, by %v", of, best)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// files shows texts to the detector.
type files map[string][]byte

func (f files) ReadFile(path string) ([]byte, error) {
	if b, has := f[path]; has {
		return b, nil
	}
	return nil, os.ErrNotExist
}

func (f files) ReadDir(path string) (out []filer.File, err error) {
	if path != "" && path != "." {
		return nil, os.ErrNotExist
	}
	for name := range f {
		out = append(out, filer.File{Name: name})
	}
	return out, nil
}

func (files) Close() {}

func (files) PathsAreAlwaysSlash() bool { return true }

// notices is the text that releases bring along: each licence once, with what is under it.
func notices(parts []part, licences map[string][]string) []byte {
	var b bytes.Buffer
	b.WriteString("Waybill is made with the work of others, which is in its program. What they ask to be told is below: first who they are\n" +
		"and under which licence, then the texts. Code generated by deploy/release/licenses; DO NOT EDIT.\n\n")
	type text struct {
		of   []string
		body []byte
	}
	seen := map[[32]byte]*text{}
	var order []*text
	for _, p := range parts {
		fmt.Fprintf(&b, "%-60s %s\n", p.name+" "+p.version, strings.Join(licences[p.name], ", "))
		for _, name := range slices.Sorted(maps.Keys(p.texts)) {
			body := bytes.TrimSpace(bytes.ReplaceAll(p.texts[name], []byte("\r\n"), []byte("\n")))
			key := sha256.Sum256(body)
			if seen[key] == nil {
				seen[key] = &text{body: body}
				order = append(order, seen[key])
			}
			seen[key].of = append(seen[key].of, p.name)
		}
	}
	for _, t := range order {
		fmt.Fprintf(&b, "\n%s\n%s\n\n%s\n", strings.Repeat("=", 100), strings.Join(slices.Compact(t.of), "\n"), t.body)
	}
	return b.Bytes()
}
