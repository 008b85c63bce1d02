package config

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

// watchKeys logs changes of the keys, also those that another process makes,
// until the App is closed.
func (b *builder) watchKeys() {
	ctx, stop := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() {
		was, contradicts := b.app.Keys.Health(b.now()), ""
		for {
			p := keyset.Policy(b.app.Keys.Set().Policy()).WithDefaults() // after Keys.Replace there is none
			select {
			case <-ctx.Done():
				return
			case <-time.After(cmp.Or(time.Duration(b.Keys.Reload), p.ReloadInterval)):
			}
			is := b.app.Keys.Health(b.now())
			b.logNews(was, is)
			was = is
			if b.writesTokens() {
				contradicts = b.logPolicy(contradicts)
			}
		}
	})
	b.closers = append(b.closers, func() error {
		stop()
		watching.Wait()
		return nil
	})
}

// logNews logs good news. The ring reports problems to its OnProblem.
func (b *builder) logNews(was, is keys.Health) {
	log := b.o.Logger
	if is.Generation != was.Generation {
		log.Info("the key file was reloaded", "generation", is.Generation)
	}
	if is.Signer != was.Signer && is.Signer != "" {
		log.Info("another key signs from now on", "kid", is.Signer)
	}
	if is.Sealer != was.Sealer && is.Sealer != "" {
		log.Info("another key encrypts from now on", "kid", is.Sealer)
	}
	if len(is.Problems) == 0 {
		for _, over := range was.Problems {
			log.Info("a problem with the keys is over", "problem", over)
		}
	}
}

// logPolicy logs once that the policy of the keys has changed, and no longer
// allows the durations in the config. logged is the result of the last call.
// The application goes on: sessions that end early are better than none.
func (b *builder) logPolicy(logged string) (now string) {
	for _, m := range b.contradictions(b.app.Keys.Set().Policy(), "keygen policy") {
		now += fmt.Sprintf("%s %v\n", fieldLabel(m.path), m.err)
	}
	if now != logged && now != "" {
		b.o.Logger.Error("the policy of the keys has changed, and contradicts the config",
			"error", strings.TrimSpace(now))
	}
	return now
}
