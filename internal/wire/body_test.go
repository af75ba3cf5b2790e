package wire_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"testing"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/wire"
)

// A content coding that was not requested is decoded, within bounds: as gzip, as zlib's format, and as the bare deflate that some servers
// send. The header alone says nothing.
func TestContentCodings(t *testing.T) {
	const most = 1 << 20
	list := []byte(`{"name":"app","tags":["1","2"]}`)
	large := bytes.Repeat([]byte(" "), most+1)
	for name, tt := range map[string]struct {
		coding string
		sent   []byte
		want   []byte // nil where there is an error
		err    error  // nil for any
	}{
		"none":                  {"", list, list, nil},
		"identity":              {"identity", list, list, nil},
		"gzip":                  {"gzip", emulator.Gzip.Encode(list), list, nil},
		"deflate":               {" Deflate ", emulator.Deflate.Encode(list), list, nil},
		"bare deflate":          {"deflate", emulator.BareDeflate.Encode(list), list, nil},
		"only in the header":    {"deflate", list, list, nil},
		"an array":              {"deflate", []byte("[]"), []byte("[]"), nil},
		"gzip in fact":          {"deflate", emulator.Gzip.Encode(list), emulator.Gzip.Encode(list), nil},
		"a page":                {"deflate", []byte("<html><body>Sign in to go on</body></html>"), []byte("<html><body>Sign in to go on</body></html>"), nil},
		"nothing":               {"deflate", nil, []byte{}, nil},
		"nothing, deflated":     {"deflate", emulator.Deflate.Encode(nil), []byte{}, nil},
		"cut":                   {"deflate", emulator.Deflate.Encode(list)[:20], nil, io.ErrUnexpectedEOF},
		"bare and cut":          {"deflate", emulator.BareDeflate.Encode(list)[:20], nil, io.ErrUnexpectedEOF},
		"too long once decoded": {"deflate", emulator.Deflate.Encode(large), nil, wire.ErrTooLong},
		"bare and too long":     {"deflate", emulator.BareDeflate.Encode(large), nil, wire.ErrTooLong},
		"of no end":             {"deflate", bytes.Repeat([]byte{0, 0, 0, 0xff, 0xff}, most), nil, wire.ErrTooLong},
		"another":               {"br", list, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			resp := &http.Response{Header: http.Header{"Content-Encoding": {tt.coding}}, Body: io.NopCloser(bytes.NewReader(tt.sent))}
			got, err := wire.ReadAll(resp, most)
			if tt.want == nil && (err == nil || tt.err != nil && !errors.Is(err, tt.err)) || tt.want != nil && (err != nil || !bytes.Equal(got, tt.want)) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}
