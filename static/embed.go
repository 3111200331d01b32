// Package static holds the files that browsers load beside the pages: the stylesheet, the scripts and the icons. They are
// part of the binary, and served under names that carry a hash of their content, so that a browser may keep each of them
// for ever and still gets the new one at once after an upgrade.
package static

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"
)

//go:embed app.css app.js passkey.js htmx.min.js icons.svg favicon.svg inter.woff2 inter.LICENSE.txt
var files embed.FS

// Prefix is the path below which the files are served.
const Prefix = "/static/"

// font is the typeface of all pages, which the stylesheet names.
const font = "inter.woff2"

// CacheControl is the header that the files are served with. Their names change with their content.
const CacheControl = "public, max-age=31536000, immutable"

// File is one file as it is served.
type File struct {
	URL  string // "/static/app.1f0c2ab34d.css"
	Type string // of the content, for the Content-Type header
	Body []byte
	Gzip []byte // Body compressed, for clients that accept gzip

	// Brotli is Body compressed for clients that accept br. It is made when the first one asks: most runs of the program
	// serve nobody, and it takes a while.
	Brotli func() []byte
}

var types = map[string]string{
	".css":   "text/css; charset=utf-8",
	".js":    "text/javascript; charset=utf-8",
	".svg":   "image/svg+xml",
	".txt":   "text/plain; charset=utf-8",
	".woff2": "font/woff2",
}

// byName and byURL hold the same files. They are filled once, before main, and not changed after that.
var byName, byURL = load()

func load() (byName, byURL map[string]*File) {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // the files were there when this was compiled
	}
	byName, byURL = map[string]*File{}, map[string]*File{}
	// What others name comes first, for its name is part of their content.
	slices.SortStableFunc(entries, func(a, b fs.DirEntry) int {
		return cmp.Compare(path.Ext(b.Name()), path.Ext(a.Name()))
	})
	for _, e := range entries {
		body, err := files.ReadFile(e.Name())
		if err != nil {
			panic(err)
		}
		if e.Name() == "app.css" {
			body = bytes.ReplaceAll(body, []byte(font), []byte(strings.TrimPrefix(byName[font].URL, Prefix)))
		}
		sum := sha256.Sum256(body)
		ext := path.Ext(e.Name())
		f := &File{
			URL:  Prefix + strings.TrimSuffix(e.Name(), ext) + "." + hex.EncodeToString(sum[:5]) + ext,
			Type: types[ext],
			Body: body,
			Gzip: compress(body),

			Brotli: sync.OnceValue(func() []byte { return compressMore(body) }),
		}
		byName[e.Name()], byURL[f.URL] = f, f
	}
	return byName, byURL
}

func compress(body []byte) []byte {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		panic(err) // the level is a constant of the package
	}
	_, _ = w.Write(body) // a bytes.Buffer takes everything
	_ = w.Close()
	return b.Bytes()
}

func compressMore(body []byte) []byte {
	var b bytes.Buffer
	w := brotli.NewWriterLevel(&b, brotli.BestCompression)
	_, _ = w.Write(body) // a bytes.Buffer takes everything
	_ = w.Close()
	return b.Bytes()
}

// URL is the path of the file with this name: URL("app.css") is "/static/app.1f0c2ab34d.css". It panics when there is no
// such file, which the test that renders every page finds.
func URL(name string) string {
	f := byName[name]
	if f == nil {
		panic(fmt.Sprintf("static: there is no file %q", name))
	}
	return f.URL
}

// Lookup returns the file that is served under the path, or nil. A path with another hash, from before an upgrade, is not
// found: what it named is gone.
func Lookup(urlPath string) *File { return byURL[urlPath] }
