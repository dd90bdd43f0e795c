// SPDX-License-Identifier: Apache-2.0

package payload

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
)

const (
	// maxCodings is how many content encodings of one message are decoded.
	maxCodings = 2
	// freeBytes are always decoded, because little content can have a high ratio.
	freeBytes = 4 << 10
	// keptBytes is how much memory for decoded content is kept for the next.
	keptBytes = 256 << 10
)

// Decoded is content without the encodings that could be decoded.
type Decoded struct {
	// Content belongs to the decoder until its next call, or is the body itself.
	Content []byte
	// Cut is set if Content lacks bytes of the content.
	Cut bool
	// Remains are the encodings that Content still has, as the message lists them.
	Remains string
	// Problem is ProblemEncoding or ProblemRatio, or else ProblemNone. Content has then what
	// was decoded before it. If nothing was, it is the body, and Remains has all encodings.
	Problem Problem
}

// Decoder decodes content encodings: gzip, x-gzip and deflate, up to two on each other.
// Others stay. It reuses its memory and is not for concurrent use. Its zero value needs its
// bounds.
type Decoder struct {
	// MaxBytes is how much is decoded. More is cut.
	MaxBytes int
	// MaxRatio is how much larger than the body the content may be. 4 KiB are always decoded.
	MaxRatio int

	layers [maxCodings]layer
	body   bytes.Reader
	out    []byte
}

// Encoding is the value of a message's Content-Encoding fields together.
func Encoding(m *request.Message) []byte {
	var all []byte
	joined := false
	for _, f := range m.Fields() {
		switch {
		case !request.EqualFold(f.Name, "content-encoding"):
		case all == nil:
			all = f.Value
		default:
			if !joined {
				all, joined = bytes.Clone(all), true
			}
			all = append(append(all, ", "...), f.Value...)
		}
	}
	return all
}

// Decode decodes a body. encoding is the value of the message's Content-Encoding fields, and
// cut says that the body lacks bytes.
func (d *Decoder) Decode(body []byte, cut bool, encoding []byte) Decoded {
	remains, codings, n := split(encoding)
	if n == 0 || len(body) == 0 {
		return Decoded{Content: body, Cut: cut, Remains: string(remains)}
	}
	if cap(d.out) > keptBytes {
		d.out = nil
	}
	d.out = d.out[:0]
	limit, problem := d.MaxBytes, ProblemNone
	if most := max(freeBytes, d.MaxRatio*len(body)); most < limit {
		limit, problem = most, ProblemRatio
	}
	d.body.Reset(body)
	content, err := d.read(codings[:n], limit)
	// The body is not kept until the next call.
	d.body.Reset(nil)
	result := Decoded{Content: content, Cut: cut, Remains: string(remains)}
	switch {
	case err == nil:
		// What was cut can still be another member of a gzip file.
	case errors.Is(err, errLimit):
		result.Cut, result.Problem = true, problem
	case cut && errors.Is(err, io.ErrUnexpectedEOF):
	default:
		result.Cut, result.Problem = true, ProblemEncoding
		if len(content) == 0 {
			result.Content, result.Cut, result.Remains = body, cut, string(bytes.Trim(encoding, " \t"))
		}
	}
	return result
}

// errLimit is what a layer returns when it has given as much as it may.
var errLimit = errors.New("decoded content exceeds its bound")

// read decodes the body. The last coding was applied last.
func (d *Decoder) read(codings []coding, limit int) ([]byte, error) {
	var from io.Reader = &d.body
	for i := len(codings) - 1; i >= 0; i-- {
		l := &d.layers[i]
		if err := l.open(codings[i], from, limit); err != nil {
			return nil, err
		}
		from = l
	}
	for {
		if len(d.out) == cap(d.out) {
			d.out = append(d.out, 0)[:len(d.out)]
		}
		n, err := from.Read(d.out[len(d.out):cap(d.out)])
		d.out = d.out[:len(d.out)+n]
		if errors.Is(err, io.EOF) {
			return d.out, nil
		}
		if err != nil {
			return d.out, err
		}
	}
}

// coding is a content encoding that can be decoded.
type coding uint8

const (
	gzipped coding = iota + 1
	deflated
)

// split finds the encodings to decode, in the order of their list. What stays is the part
// of the list before them.
func split(list []byte) (remains []byte, codings [maxCodings]coding, n int) {
	remains = bytes.Trim(list, " \t,")
	for len(remains) > 0 {
		begin := bytes.LastIndexByte(remains, ',') + 1
		var c coding
		switch name := bytes.Trim(remains[begin:], " \t"); {
		case request.EqualFold(name, "gzip"), request.EqualFold(name, "x-gzip"):
			c = gzipped
		case request.EqualFold(name, "deflate"):
			c = deflated
		case request.EqualFold(name, "identity"):
		default:
			return remains, codings, n
		}
		if c != 0 && n == maxCodings {
			return remains, codings, n
		}
		if c != 0 {
			// Those found before were applied later.
			copy(codings[1:], codings[:n])
			codings[0] = c
			n++
		}
		remains = bytes.TrimRight(remains[:begin], " \t,")
	}
	return remains, codings, n
}

// layer decodes one encoding.
type layer struct {
	in    *bufio.Reader
	gzip  *gzip.Reader
	zlib  io.ReadCloser
	flate io.ReadCloser

	from io.Reader
	left int
}

// open begins to decode what from gives, at most limit bytes.
func (l *layer) open(c coding, from io.Reader, limit int) (err error) {
	if l.in == nil {
		l.in = bufio.NewReaderSize(nil, 1<<10)
	}
	l.in.Reset(from)
	l.left = limit
	if c == gzipped {
		return l.openGzip()
	}
	// deflate is zlib's format, but some servers send it without zlib's header.
	head, err := l.in.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if len(head) == 2 && head[0]&0xf == 8 && (int(head[0])<<8|int(head[1]))%31 == 0 {
		return l.openZlib()
	}
	if l.flate == nil {
		l.flate = flate.NewReader(l.in)
	} else if err := l.flate.(flate.Resetter).Reset(l.in, nil); err != nil {
		return err
	}
	l.from = l.flate
	return nil
}

func (l *layer) openGzip() (err error) {
	if l.gzip == nil {
		l.gzip = new(gzip.Reader)
	}
	l.from = l.gzip
	return whole(l.gzip.Reset(l.in))
}

func (l *layer) openZlib() (err error) {
	if l.zlib == nil {
		if l.zlib, err = zlib.NewReader(l.in); err != nil {
			return whole(err)
		}
	} else if err := l.zlib.(zlib.Resetter).Reset(l.in, nil); err != nil {
		return whole(err)
	}
	l.from = l.zlib
	return nil
}

// whole makes the end of the input inside a header the same error as elsewhere.
func whole(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Read gives what was decoded, and errLimit if there is more than permitted.
func (l *layer) Read(to []byte) (int, error) {
	if l.left == 0 {
		var more [1]byte
		if n, err := io.ReadFull(l.from, more[:]); n == 0 {
			return 0, err
		}
		return 0, errLimit
	}
	n, err := l.from.Read(to[:min(len(to), l.left)])
	l.left -= n
	return n, err
}
