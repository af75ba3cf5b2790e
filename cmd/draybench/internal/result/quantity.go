package result

import (
	"fmt"
	"time"
)

// seconds writes a duration with three digits: "31 ms", "5.62 s", "2m11s".
func seconds(v float64) string {
	switch {
	case v < 0.9995:
		return fmt.Sprintf("%.0f ms", v*1000)
	case v < 9.995:
		return fmt.Sprintf("%.2f s", v)
	case v < 99.95:
		return fmt.Sprintf("%.1f s", v)
	default:
		return time.Duration(v * float64(time.Second)).Round(time.Second).String()
	}
}

// megabytes writes bytes in the decimal units of traffic.
func megabytes(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 1e3:
		return fmt.Sprintf("%.0f B", v)
	case v < 1e6:
		return fmt.Sprintf("%.1f kB", v/1e3)
	case v < 1e9:
		return fmt.Sprintf("%.1f MB", v/1e6)
	default:
		return fmt.Sprintf("%.3f GB", v/1e9)
	}
}

// mebibytes writes bytes in the binary units of memory.
func mebibytes(v float64) string { return fmt.Sprintf("%.0f MiB", v/(1<<20)) }

// number writes a count; a median may lie between two.
func number(v float64) string { return fmt.Sprintf("%.5g", v) }

// ratio says how many times dray's value another tool's is; "" where that means nothing.
func ratio(v, drays float64) string {
	if drays == 0 || v == 0 {
		return ""
	}
	return fmt.Sprintf(" (%.2f×)", v/drays)
}
