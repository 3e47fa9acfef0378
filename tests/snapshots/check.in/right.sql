SELECT id, name FROM (VALUES (1, 'one'), (2, 'two')) AS t (id, name);
