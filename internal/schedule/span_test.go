package schedule

import (
	"encoding/binary"
	"testing"
	"time"
)

// zoneFile returns a zone in the format of RFC 9636, version 2: changes in 2022 from one hour to two and back, on days that the
// rule for the years to come does not know.
func zoneFile(rule string, changes ...int64) []byte {
	header := func(changes, zones, letters int) []byte {
		h := append([]byte("TZif2"), make([]byte, 15)...)
		for _, n := range []int{0, 0, 0, changes, zones, letters} {
			h = binary.BigEndian.AppendUint32(h, uint32(n))
		}
		return h
	}
	data := header(0, 1, 1)
	data = append(data, make([]byte, 7)...)
	data = append(data, header(len(changes), 2, 8)...)
	for _, at := range changes {
		data = binary.BigEndian.AppendUint64(data, uint64(at))
	}
	for i := range changes {
		data = append(data, byte((i+1)%2))
	}
	for i, offset := range []uint32{3600, 7200} {
		data = append(binary.BigEndian.AppendUint32(data, offset), byte(i), byte(4*i))
	}
	return append(data, "AAA\x00BBB\x00\n"+rule+"\n"...)
}

// TestSpanAt holds what [spanAt] promises where ZoneBounds breaks its own.
func TestSpanAt(t *testing.T) {
	spring, autumn := time.Date(2022, 3, 13, 1, 0, 0, 0, time.UTC).Unix(), time.Date(2022, 11, 30, 1, 0, 0, 0, time.UTC).Unix()
	location, err := time.LoadLocationFromTZData("Test/Zone", zoneFile("AAA-1BBB,M3.5.0,M10.5.0/3", spring, autumn))
	if err != nil {
		t.Fatal(err)
	}
	if s := spanAt(autumn+3600, location); s.start != autumn || s.offset != 3600 || s.before != 7200 {
		t.Errorf("after a change that the rule does not know: %+v, want the start %d", s, autumn)
	}
	end := time.Date(2045, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	for at := time.Date(2022, 1, 1, 0, 0, 0, 0, time.UTC).Unix(); at < end; at += 3600 {
		s := spanAt(at, location)
		if s.start > at || s.end <= at || offsetAt(max(s.start, spring-1), location) != s.offset || offsetAt(s.end-1, location) != s.offset {
			t.Fatalf("%s is not in %+v, or its clock is not even", time.Unix(at, 0).UTC(), s)
		}
	}
	s := mustParse(t, "30 2 * * *", "")
	s.wall.location = location
	days := 0
	for at := s.Next(time.Date(2022, 1, 1, 0, 0, 0, 0, location), time.Time{}); at.Before(time.Date(2042, 1, 1, 0, 0, 0, 0, location)); days++ {
		at = s.Next(at, time.Time{})
	}
	if want := 20*365 + 5; days != want {
		t.Errorf("ran on %d days, want %d", days, want)
	}
}
