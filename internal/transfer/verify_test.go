package transfer

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"

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
	v := newVerifying(chunked(data, random), want, func(n int64) { moved += n })
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
	_, err := io.ReadAll(newVerifying(bytes.NewReader([]byte("ab")), image.Descriptor{Digest: image.DigestOf([]byte("abc"), ""), Size: 3}, func(int64) {}))
	temporary, ok := errors.AsType[interface {
		error
		Temporary() bool
	}](err)
	if !ok || !temporary.Temporary() || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error = %v", err)
	}
}
