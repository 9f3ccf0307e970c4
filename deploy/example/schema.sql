-- What the example needs: a role that may open eight connections, and a table.
CREATE ROLE app LOGIN PASSWORD 'secret' CONNECTION LIMIT 8;
CREATE DATABASE app OWNER app;
