-- Every relation of schema public that holds or shows rows, as one JSON object a row. What an extension brought is its own affair.
SELECT json_build_object(
    'name', c.relname,
    'kind', c.relkind,
    'row_security', c.relrowsecurity,
    'forced', c.relforcerowsecurity,
    'security_invoker', coalesce((
        SELECT bool_or(o.option_value::boolean) FROM pg_options_to_table(c.reloptions) o
        WHERE o.option_name = 'security_invoker'), false),
    'columns', ARRAY(
        SELECT json_build_object(
            'name', a.attname,
            'type', CASE t.typtype WHEN 'd' THEN format_type(t.typbasetype, t.typtypmod) ELSE format_type(t.oid, a.atttypmod) END,
            'not_null', a.attnotnull,
            'filled', a.attidentity <> '' OR a.atthasdef,
            'default', CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END)
        FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
    'policies', ARRAY(
        SELECT json_build_object(
            'name', p.polname,
            'permissive', p.polpermissive,
            'all_verbs', p.polcmd = '*',
            'everyone', p.polroles = '{0}',
            'using', pg_get_expr(p.polqual, p.polrelid),
            'with_check', pg_get_expr(p.polwithcheck, p.polrelid))
        FROM pg_policy p WHERE p.polrelid = c.oid ORDER BY p.polname),
    'indexes', ARRAY(
        SELECT json_build_object(
            'name', x.relname,
            'primary', i.indisprimary,
            'unique', i.indisunique,
            -- Null stands for an expression.
            'columns', ARRAY(
                SELECT a.attname FROM unnest(i.indkey[0:i.indnkeyatts - 1]) WITH ORDINALITY AS k (attnum, n)
                LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum AND k.attnum > 0 ORDER BY k.n))
        FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = c.oid ORDER BY x.relname),
    'foreign_keys', ARRAY(
        SELECT json_build_object(
            'name', f.conname,
            'target', x.relname,
            'columns', ARRAY(
                SELECT json_build_array(a.attname, b.attname)
                FROM unnest(f.conkey, f.confkey) WITH ORDINALITY AS k (here, there, n)
                JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.here
                JOIN pg_attribute b ON b.attrelid = f.confrelid AND b.attnum = k.there ORDER BY k.n))
        FROM pg_constraint f JOIN pg_class x ON x.oid = f.confrelid
        WHERE f.conrelid = c.oid AND f.contype = 'f' ORDER BY f.conname),
    'checks', ARRAY(
        SELECT json_build_object(
            'expression', pg_get_expr(k.conbin, k.conrelid),
            'columns', ARRAY(SELECT a.attname FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = ANY (k.conkey)))
        FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c' ORDER BY k.conname),
    'triggers', ARRAY(
        SELECT g.tgname FROM pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal ORDER BY g.tgname),
    'grants', ARRAY(
        SELECT DISTINCT jsonb_build_object(
            'to', CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(x.grantee)::text END,
            'verb', x.privilege_type || CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
        FROM (
            SELECT c.relacl AS acl
            UNION ALL SELECT a.attacl FROM pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attisdropped) lists,
            aclexplode(lists.acl) x
        WHERE x.grantee <> c.relowner)
) AS row
FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND NOT EXISTS (
        SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
ORDER BY c.relname
