package config

import (
	"fmt"
	"math"
)

// UnmarshalJSON reads c as [Parse] does, for encoding/json and similar
// libraries. Fields that data lacks keep their values. After an error, c has
// not changed.
func (c *Config) UnmarshalJSON(data []byte) error {
	tree, err := parseTree(data)
	if err != nil {
		return err
	}
	return c.read(tree)
}

// UnmarshalYAML reads c as [Parse] does, for gopkg.in/yaml.v3, goccy/go-yaml
// and similar libraries, which pass unmarshal. Fields that the document lacks
// keep their values. After an error, c has not changed.
func (c *Config) UnmarshalYAML(unmarshal func(any) error) error {
	var root any
	if err := unmarshal(&root); err != nil {
		return err
	}
	tree, err := asTree(root)
	if err != nil {
		return err
	}
	return c.read(tree)
}

// read sets the fields that tree names, or none after a mistake.
func (c *Config) read(tree map[string]any) error {
	next := *c
	if err := decode(tree, &next, fieldLabel); err != nil {
		return err
	}
	*c = next
	return nil
}

// plain replaces the types that libraries use for integers and mappings by the
// ones that [Parse] uses.
func plain(value any) any {
	switch value := value.(type) {
	case int:
		return int64(value)
	case uint64:
		if value <= math.MaxInt64 {
			return int64(value)
		}
	case []any:
		for i := range value {
			value[i] = plain(value[i])
		}
		return value
	case map[string]any:
		for name := range value {
			value[name] = plain(value[name])
		}
		return value
	case map[any]any:
		tree := make(map[string]any, len(value))
		for name, v := range value {
			tree[fmt.Sprint(name)] = plain(v)
		}
		return tree
	}
	return value
}
