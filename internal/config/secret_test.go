package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

func TestSecretIsNeverShown(t *testing.T) {
	const word = "hunter2"
	r := Registry{Key: "ghcr.io", Username: "robot", Password: word}
	shown := map[string]string{"String": r.Password.String(), "GoString": r.Password.GoString(), "LogValue": r.Password.LogValue().String(), "error": fmt.Errorf("%w: %v", fmt.Errorf("%s", r.Password), r).Error()}
	for _, verb := range strings.Split("v +v #v s q x X d t c U e b o 10s", " ") {
		shown["%"+verb] = fmt.Sprintf("%"+verb, r.Password)
		shown["struct %"+verb] = fmt.Sprintf("%"+verb, r)
		shown["pointer %"+verb] = fmt.Sprintf("%"+verb, &r)
	}
	for name, encode := range map[string]func(any) ([]byte, error){"JSON": json.Marshal, "YAML": yaml.Marshal} {
		b, err := encode(r)
		if err != nil {
			t.Fatal(err)
		}
		shown[name] = string(b)
	}
	var text, lines bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&text, nil), slog.NewJSONHandler(&lines, nil)} {
		slog.New(h).Info("x", "secret", r.Password, "registry", r, slog.Group("g", "s", r.Password))
	}
	shown["slog text"], shown["slog JSON"] = text.String(), lines.String()
	c := Config{Server: Server{Token: word}, Notifications: []Notification{{URL: word, Secret: word}}}
	shown["config"] = fmt.Sprintf("%v %+v %#v", c, c, c)
	for how, s := range shown {
		if strings.Contains(s, word) || strings.Contains(s, fmt.Sprintf("%x", word)) {
			t.Errorf("%s shows it: %s", how, s)
		}
		if !strings.Contains(s, "redacted") {
			t.Errorf("%s does not say that something is hidden: %s", how, s)
		}
	}
	if r.Password.Reveal() != word {
		t.Error("Reveal does not")
	}
}
