-- compatible: 1
-- A token has one lease at a node, which is found by both.

CREATE INDEX lease_holder ON lease (token, node);
