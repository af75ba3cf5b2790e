package transfer

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
)

// chunked reads in pieces of random sizes, with the end of the data by itself or together with the last of them.
func chunked(data []byte, random *rand.Rand) io.Reader {
	var r io.Reader = bytes.NewReader(data)
	if random.IntN(2) == 0 {
		r = iotest.DataErrReader(r)
	}
	return readFunc(func(p []byte) (int, error) {
		if random.IntN(8) == 0 {
			return 0, nil
		}
		return r.Read(p[:random.IntN(len(p))+1])
	})
}

type readFunc func(p []byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// handedOn reads all that a verifying reader hands on, also after an error: what is read again then is no better.
func handedOn(data []byte, want image.Descriptor, random *rand.Rand) (out []byte, moved int64, err error) {
	c := checked{want: want, moved: func(n int64) { moved += n }, open: func(int64) (io.ReadCloser, error) {
		return io.NopCloser(chunked(data, random)), nil
	}}
	v, err := c.from(0)
	if err != nil {
		return nil, 0, err
	}
	buffer := make([]byte, 1+random.IntN(64))
	for left := 20; left > 0; {
		n, readErr := v.Read(buffer)
		out = append(out, buffer[:n]...)
		if readErr != nil && err == nil {
			err = readErr
		}
		if errors.Is(readErr, io.EOF) {
			break
		}
		if err != nil {
			left--
		}
	}
	return out, moved, err
}

func checkVerifying(t *testing.T, good []byte, seed uint64, corrupt func([]byte, *rand.Rand) []byte) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test that can be repeated
	for _, like := range []image.Digest{"", image.Digest("sha512:" + string(bytes.Repeat([]byte("0"), 128)))} {
		want := image.Descriptor{Digest: image.DigestOf(good, like), Size: int64(len(good))}
		out, moved, err := handedOn(good, want, random)
		if !errors.Is(err, io.EOF) || !bytes.Equal(out, good) || moved != want.Size {
			t.Fatalf("right bytes: %v, %d of %d bytes, %d counted", err, len(out), len(good), moved)
		}
		bad := corrupt(slices.Clone(good), random)
		if bytes.Equal(bad, good) {
			continue
		}
		out, moved, err = handedOn(bad, want, random)
		if err == nil || err == io.EOF { //nolint:errorlint // a plain end is what must not come
			t.Fatalf("%d wrong bytes in place of %d end well", len(bad), len(good))
		}
		if int64(len(out)) >= want.Size && !bytes.Equal(out, good) {
			t.Fatalf("%d of %d wrong bytes are handed on", len(out), want.Size)
		}
		if moved != int64(len(out)) {
			t.Fatalf("%d bytes counted, %d handed on", moved, len(out))
		}
		short := len(bad) < len(good)
		if short != errors.Is(err, io.ErrUnexpectedEOF) || short == errors.Is(err, image.ErrCorrupt) {
			t.Fatalf("%d bytes in place of %d: %v", len(bad), len(good), err)
		}
	}
}

func flip(data []byte, random *rand.Rand) []byte {
	if len(data) > 0 {
		data[random.IntN(len(data))] ^= 1 << random.IntN(8)
	}
	return data
}

func cut(data []byte, random *rand.Rand) []byte { return data[:random.IntN(len(data)+1)] }

func extend(data []byte, random *rand.Rand) []byte {
	return append(data, make([]byte, 1+random.IntN(100))...)
}

func TestVerifyingHandsOnNothingWrong(t *testing.T) {
	for name, corrupt := range map[string]func([]byte, *rand.Rand) []byte{"flip": flip, "cut": cut, "extend": extend} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(300) {
				checkVerifying(t, bytes.Repeat([]byte{byte(seed)}, int(seed%97)), seed, corrupt)
			}
		})
	}
}

func FuzzVerifying(f *testing.F) {
	f.Add([]byte("a layer"), uint64(1))
	f.Add([]byte{}, uint64(2))
	f.Fuzz(func(t *testing.T, good []byte, seed uint64) {
		if len(good) > 2000 {
			return
		}
		for _, corrupt := range []func([]byte, *rand.Rand) []byte{flip, cut, extend} {
			checkVerifying(t, good, seed, corrupt)
		}
	})
}

// A body that breaks off may be whole the next time; one with other bytes is asked for by the engine itself.
func TestBrokenOffIsTemporary(t *testing.T) {
	c := checked{want: image.Descriptor{Digest: image.DigestOf([]byte("abc"), ""), Size: 3}, moved: func(int64) {}, open: func(int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader([]byte("ab"))), nil
	}}
	body, err := c.from(0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.ReadAll(body)
	temporary, ok := errors.AsType[interface {
		error
		Temporary() bool
	}](err)
	if !ok || !temporary.Temporary() || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error = %v", err)
	}
}

// TestReadAgainFromAnOffset: wherever reading starts anew, what is handed on is right in the end, or refused.
func TestReadAgainFromAnOffset(t *testing.T) {
	fulltest.Long(t)
	good := make([]byte, 2*markEvery+12_345)
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test that can be repeated
	for i := range good {
		good[i] = byte(random.Uint32())
	}
	for _, like := range []image.Digest{"", image.Digest("sha512:" + string(bytes.Repeat([]byte("0"), 128)))} {
		for round := range 8 {
			bad := round%4 == 3
			data, asked := slices.Clone(good), int64(0)
			c := checked{
				want: image.Descriptor{Digest: image.DigestOf(good, like), Size: int64(len(good))}, moved: func(n int64) { asked += n },
				open: func(offset int64) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data[offset:])), nil },
			}
			var out []byte
			for range 4 {
				from := random.IntN(len(out) + 1)
				body, err := c.from(int64(from))
				if err != nil {
					t.Fatal(err)
				}
				part, err := io.ReadAll(io.LimitReader(body, random.Int64N(int64(len(good)-from))))
				if err != nil {
					t.Fatal(err)
				}
				out = append(out[:from:from], part...)
			}
			if bad { // the source changes what is still to come
				data[len(out)] ^= 1
			}
			body, err := c.from(int64(len(out)))
			if err != nil {
				t.Fatal(err)
			}
			rest, err := io.ReadAll(body)
			out = append(out, rest...)
			switch {
			case bad && !errors.Is(err, image.ErrCorrupt):
				t.Fatalf("wrong bytes after byte %d: %v", len(out)-len(rest), err)
			case !bad && (err != nil || !bytes.Equal(out, good)):
				t.Fatalf("%v, %d of %d bytes", err, len(out), len(good))
			}
			if most := int64(6 * (len(good) + markEvery)); asked > most {
				t.Fatalf("%d bytes were asked for", asked)
			}
		}
	}
}
