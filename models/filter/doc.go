package filter

import "time"

// Doc is one event as filters see it: the five roots id, topic, time, metadata and data. It decodes the
// payload at most once, and only when a filter looks at it, so that one Doc serves all the destinations of
// an event. It is not safe for concurrent use.
type Doc struct {
	id, topic string
	time      time.Time
	metadata  map[string]string
	data      []byte

	tape  tape
	roots [rootCount]at // the place of each root on the tape, or unloaded or broken
	run   machine
	env   *environment
}

// The roots, numbered for the compiled form.
const (
	atID = iota
	atTopic
	atTime
	atMetadata
	atData
	rootCount
)

const (
	unloaded at = -3
	broken   at = -4 // the payload is not JSON
)

func rootNumber(name string) int {
	switch name {
	case rootID:
		return atID
	case rootTopic:
		return atTopic
	case rootTime:
		return atTime
	case rootMetadata:
		return atMetadata
	}
	return atData
}

// NewDoc makes a document of an event. time is compared by instant and reads, as text, as RFC 3339 in UTC;
// metadata may be nil; data is the payload as raw JSON of any type, where no bytes at all mean that there is
// no data. Neither metadata nor data may change while the document is in use. Data that is not JSON is no
// error here: each filter that looks at it fails with a reason, and does not match.
func NewDoc(id, topic string, time time.Time, metadata map[string]string, data []byte) *Doc {
	d := &Doc{id: id, topic: topic, time: time, metadata: metadata, data: data}
	for i := range d.roots {
		d.roots[i] = unloaded
	}
	return d
}

// root returns the place of a root, after loading it. It is missing when there is no data, and broken when
// the data is not JSON.
func (d *Doc) root(number int) at {
	if d.roots[number] == unloaded {
		d.roots[number] = d.load(number)
	}
	return d.roots[number]
}

func (d *Doc) load(number int) at {
	place := at(len(d.tape.items))
	switch number {
	case atID:
		d.appendText(d.id)
	case atTopic:
		d.appendText(d.topic)
	case atTime:
		d.appendText(d.time.UTC().Format(time.RFC3339Nano))
	case atMetadata:
		d.tape.items = append(d.tape.items, item{kind: kindObject, bits: uint64(len(d.metadata))})
		last := missing
		for key, value := range d.metadata {
			d.appendText(key)
			d.tape.items[len(d.tape.items)-1].last = last
			last = at(len(d.tape.items)) - 1
			d.appendText(value)
		}
		d.tape.items[place].last, d.tape.items[place].end = last, at(len(d.tape.items))
	case atData:
		if len(d.data) == 0 {
			return missing
		}
		if d.tape.items == nil {
			// A field of a typical payload, with its key, takes 20 to 30 bytes and two items.
			d.tape.items = make([]item, 0, 16+len(d.data)/8)
		}
		root, err := d.tape.parse(string(d.data))
		if err != nil {
			d.tape.items = d.tape.items[:place]
			return broken
		}
		return root
	}
	return place
}

func (d *Doc) appendText(s string) {
	d.tape.items = append(d.tape.items, item{kind: kindText, end: at(len(d.tape.items)) + 1, text: s})
}
