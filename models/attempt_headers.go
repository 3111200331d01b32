package models

import (
	_ "embed" // the dictionary
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/klauspost/compress/s2"
)

// Headers of attempts are much the same from one to the next, and were more than half of what an attempt takes up: they are kept
// packed, request and answer together, by S2 with a dictionary (github.com/klauspost/compress/s2, blocks as its package describes
// them). Of 390 bytes about 165 are left, in about a microsecond. The first byte names the dictionary: one that has been in use is
// never changed, since what was packed with it could not be read any more; a better one gets the next number.
const headersVersion = 1

// headersText is what headers are made of. What is likely stands at the end, what requests begin with last.
//
//go:embed attempt_headers_v1.dict
var headersText []byte

var headersDictionary = s2.MakeDict(headersText, []byte("Host: hooks"))

// headersBetween stands between the headers of the request and those of the answer. Neither has one: see text.
const headersBetween = "\x00"

// headerBuffers are for packing.
var headerBuffers = sync.Pool{New: func() any { return new([2][]byte) }}

// packHeaders gives keep the packed headers of a request and its answer, which are valid until it returns; nil for none.
func packHeaders(request, response string, keep func([]byte)) {
	if request == "" && response == "" {
		keep(nil)
		return
	}
	b := headerBuffers.Get().(*[2][]byte)
	defer headerBuffers.Put(b)
	plain := append(append(append(b[0][:0], request...), headersBetween...), response...)
	if need := 1 + s2.MaxEncodedLen(len(plain)); cap(b[1]) < need {
		b[1] = make([]byte, need)
	}
	packed := b[1][:cap(b[1])]
	packed[0] = headersVersion
	b[0] = plain
	keep(packed[:1+len(headersDictionary.Encode(packed[1:], plain))])
}

// unpackHeaders reads what packHeaders has written.
func unpackHeaders(packed []byte) (request, response string, err error) {
	if len(packed) == 0 {
		return "", "", nil
	}
	if packed[0] != headersVersion {
		return "", "", fmt.Errorf("the headers of an attempt were packed by a later version (%d)", packed[0])
	}
	plain, err := headersDictionary.Decode(nil, packed[1:])
	if err != nil {
		return "", "", fmt.Errorf("the headers of an attempt cannot be read: %w", err)
	}
	request, response, ok := strings.Cut(string(plain), headersBetween)
	if !ok {
		return "", "", errors.New("the headers of an attempt are not those of a request and an answer")
	}
	return request, response, nil
}
