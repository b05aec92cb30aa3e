/*
** SQLite in Lua: core.sqlite.open gives a database, on which statements are run with values that are bound, never put
** into their text.
**
** A file may come from anywhere: neither its schema nor its pages are trusted, nothing in it can load or attach a file,
** no statement waits for another process longer than a moment, and none works on without end: pages of a damaged file
** can lead to the same ones again and again, so that a table of some pages seems to have more rows than can be counted.
*/
#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

#include "spdl.h"

#define DATABASE SPDL_NAME("database")
#define STATEMENT SPDL_NAME("statement")

enum { BUSY_MILLISECONDS = 10000, LONGEST_VALUE = 1 << 26, LONGEST_PATTERN = 200 };

/* How many operations of SQLite's machine a statement may take: a row of a table takes some ten. */
enum {
  OPERATIONS = 50000000,
  OPERATIONS_PER_BYTE = 5,
  MOST_OPERATIONS = 2000000000,
  OPERATIONS_COUNTED_AT_ONCE = 100000
};

/* The user values of a database: its path and what to do when it is damaged (text or nil), for messages. */
enum { PATH = 1, REMEDY, USER_VALUES = REMEDY };

typedef struct {
  sqlite3 *handle; /* NULL: closed */
} database;

/* Closing a database leaves its statements valid until they are closed too. */
typedef struct {
  sqlite3_stmt *handle; /* NULL: closed */
  sqlite3 *database;
  sqlite3_int64 operations; /* done so far */
  bool in_use;              /* a row is being read, during which a finalizer may run */
} statement;

/* ---- errors -------------------------------------------------------------------------------- */

static const char *kind_of(int code) {
  if (code == SQLITE_READONLY_DBMOVED) return "busy"; /* the file was replaced: to open it again helps */
  switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_INTERRUPT: /* too many operations */
    case SQLITE_FORMAT: return "damaged";
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return "busy";
    case SQLITE_NOTFOUND: return "missing";
    default: return "other";
  }
}

/* Raise {status =, message = "PATH: WHAT", kind =} for the database at an index. */
static int raise(lua_State *L, int index, int code, const char *what) {
  index = lua_absindex(L, index);
  const char *kind = kind_of(code);
  const bool damaged = strcmp(kind, "damaged") == 0, missing = strcmp(kind, "missing") == 0;
  lua_getiuservalue(L, index, PATH);
  const char *path = lua_tostring(L, -1);
  lua_getiuservalue(L, index, REMEDY);
  const char *remedy = lua_tostring(L, -1);
  if (damaged) what = "is damaged, or no database";
  if (damaged && remedy != NULL)
    lua_pushfstring(L, "%s: %s (%s)", path, what, remedy);
  else
    lua_pushfstring(L, "%s: %s", path, what);
  spdL_push_error(L, damaged || missing ? 2 : 1);
  lua_pushstring(L, kind);
  lua_setfield(L, -2, "kind");
  return lua_error(L);
}

static int raise_last(lua_State *L, int index, sqlite3 *handle) {
  /* the text belongs to SQLite until its next call */
  const int code = sqlite3_extended_errcode(handle);
  lua_pushvalue(L, index);
  const char *what = (code & 0xff) == SQLITE_BUSY ? lua_pushliteral(L, "another process keeps it locked")
                                                  : lua_pushstring(L, sqlite3_errmsg(handle));
  return raise(L, -2, code, what);
}

/* ---- databases ----------------------------------------------------------------------------- */

static database *check_database(lua_State *L) {
  database *db = spdL_check_object(L, 1, DATABASE);
  spdL_argument_check(L, db->handle != NULL, 1, "the database is closed");
  return db;
}

static int database_close(lua_State *L) {
  database *db = luaL_checkudata(L, 1, DATABASE);
  sqlite3_close_v2(db->handle);
  db->handle = NULL;
  return 0;
}

static void distrust(sqlite3 *handle) {
  sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
  sqlite3_limit(handle, SQLITE_LIMIT_ATTACHED, 0);
  sqlite3_limit(handle, SQLITE_LIMIT_LENGTH, LONGEST_VALUE);
  sqlite3_limit(handle, SQLITE_LIMIT_LIKE_PATTERN_LENGTH, LONGEST_PATTERN);
  sqlite3_exec(handle, "PRAGMA cell_size_check = ON", NULL, NULL, NULL);
}

static int sqlite_open(lua_State *L) {
  static const char *const modes[] = {"read", "write", "create", NULL};
  static const int flags[] = {SQLITE_OPEN_READONLY, SQLITE_OPEN_READWRITE, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE};
  spdL_check_count(L, 3);
  const char *path = luaL_checkstring(L, 1);
  const int mode = luaL_checkoption(L, 2, "create", modes);
  if (!lua_isnoneornil(L, 3)) luaL_checkstring(L, 3);
  lua_settop(L, 3);
  database *db = lua_newuserdatauv(L, sizeof *db, USER_VALUES);
  db->handle = NULL;
  luaL_setmetatable(L, DATABASE);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, PATH);
  lua_pushvalue(L, 3);
  lua_setiuservalue(L, -2, REMEDY);
  const int code = sqlite3_open_v2(path, &db->handle, flags[mode] | SQLITE_OPEN_EXRESCODE, NULL);
  if (db->handle == NULL) return raise(L, -1, SQLITE_NOMEM, "not enough memory");
  if (code != SQLITE_OK && access(path, F_OK) != 0 && modes[mode][0] != 'c')
    return raise(L, -1, SQLITE_NOTFOUND, "no such file");
  if (code != SQLITE_OK) return raise_last(L, -1, db->handle);
  sqlite3_busy_timeout(db->handle, BUSY_MILLISECONDS);
  distrust(db->handle);
  return 1;
}

/* ---- statements ---------------------------------------------------------------------------- */

static int statement_collect(lua_State *L) {
  statement *s = luaL_checkudata(L, 1, STATEMENT);
  sqlite3_finalize(s->handle);
  s->handle = NULL;
  return 0;
}

/* One that is being read is left to the collector, which comes when nobody can use it any more. */
static int statement_close(lua_State *L) {
  const statement *s = luaL_checkudata(L, 1, STATEMENT);
  return s->in_use ? 0 : statement_collect(L);
}

static sqlite3_int64 file_size(sqlite3 *handle) {
  sqlite3_file *file = NULL;
  sqlite3_int64 size = 0;
  sqlite3_file_control(handle, "main", SQLITE_FCNTL_FILE_POINTER, &file);
  const bool known = file != NULL && file->pMethods != NULL && file->pMethods->xFileSize(file, &size) == SQLITE_OK;
  return known ? size : 0;
}

/* SQLite calls this after some operations, and ends the statement if it returns nonzero. */
static int has_done_too_much(void *argument) {
  statement *s = argument;
  s->operations += OPERATIONS_COUNTED_AT_ONCE;
  if (s->operations < OPERATIONS) return 0;
  const sqlite3_int64 size = file_size(s->database), most = (MOST_OPERATIONS - OPERATIONS) / OPERATIONS_PER_BYTE;
  return s->operations > OPERATIONS + OPERATIONS_PER_BYTE * (size < most ? size : most);
}

static void count_operations(statement *s) {
  sqlite3_progress_handler(s->database, OPERATIONS_COUNTED_AT_ONCE, has_done_too_much, s);
}

static void stop_counting(const statement *s) { sqlite3_progress_handler(s->database, 0, NULL, NULL); }

static int step(statement *s) {
  count_operations(s);
  const int code = sqlite3_step(s->handle);
  stop_counting(s);
  return code;
}

/* Compile the statement at the beginning of a text for the database at argument 1; a userdata that holds both is
** pushed. Returns what follows in the text. The statement is NULL where there was only space. */
static const char *prepare(lua_State *L, const char *sql, statement **pushed) {
  statement *s = lua_newuserdatauv(L, sizeof *s, 1);
  memset(s, 0, sizeof *s);
  luaL_setmetatable(L, STATEMENT);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  sqlite3 *handle = check_database(L)->handle; /* after all that allocates */
  s->database = handle;
  const char *rest;
  count_operations(s); /* the tables of the file may be read first */
  const int code = sqlite3_prepare_v2(handle, sql, -1, &s->handle, &rest);
  stop_counting(s);
  if (code != SQLITE_OK) raise_last(L, 1, handle);
  *pushed = s;
  return rest;
}

static int bind_value(lua_State *L, sqlite3_stmt *handle, int position, int index) {
  size_t length;
  const char *text;
  switch (lua_type(L, index)) {
    case LUA_TNIL: return sqlite3_bind_null(handle, position);
    case LUA_TBOOLEAN: return sqlite3_bind_int(handle, position, lua_toboolean(L, index));
    case LUA_TNUMBER:
      return lua_isinteger(L, index) ? sqlite3_bind_int64(handle, position, lua_tointeger(L, index))
                                     : sqlite3_bind_double(handle, position, lua_tonumber(L, index));
    case LUA_TSTRING:
      text = lua_tolstring(L, index, &length);
      return sqlite3_bind_text64(handle, position, text, length, SQLITE_TRANSIENT, SQLITE_UTF8);
    default:
      return spdL_argument_error(L, index, "expected nil, boolean, number or string, found %s",
                                 spdL_type_name(L, index));
  }
}

/* Bind the arguments from 3 to `last` to the statement. */
static void bind(lua_State *L, const statement *s, int last) {
  const int wanted = sqlite3_bind_parameter_count(s->handle);
  if (wanted != last - 2) luaL_error(L, "expected %d values for the statement, found %d", wanted, last - 2);
  for (int i = 3; i <= last; i++)
    if (bind_value(L, s->handle, i - 2, i) != SQLITE_OK) raise_last(L, 1, sqlite3_db_handle(s->handle));
}

/* The statement that is the whole text of argument 2, with its values, on top of the stack. */
static statement *prepare_only(lua_State *L) {
  const int last = lua_gettop(L);
  statement *s, *next;
  const char *rest = prepare(L, luaL_checkstring(L, 2), &s);
  if (s->handle == NULL) luaL_error(L, "expected a statement");
  prepare(L, rest, &next);
  if (next->handle != NULL) luaL_error(L, "expected one statement, found another after it");
  lua_pop(L, 1);
  bind(L, s, last);
  return s;
}

static void push_bytes(lua_State *L, const void *bytes, int count) {
  lua_pushlstring(L, bytes == NULL ? "" : bytes, bytes == NULL ? 0 : (size_t)count);
}

static void push_column(lua_State *L, sqlite3_stmt *handle, int column) {
  switch (sqlite3_column_type(handle, column)) {
    case SQLITE_INTEGER: lua_pushinteger(L, sqlite3_column_int64(handle, column)); break;
    case SQLITE_FLOAT: lua_pushnumber(L, sqlite3_column_double(handle, column)); break;
    case SQLITE_NULL: lua_pushnil(L); break;
    case SQLITE_TEXT: push_bytes(L, sqlite3_column_text(handle, column), sqlite3_column_bytes(handle, column)); break;
    default: push_bytes(L, sqlite3_column_blob(handle, column), sqlite3_column_bytes(handle, column));
  }
}

/* Push the next row as a table by column name, or as a list; false at the end. The database is at `index`. */
static bool push_row(lua_State *L, statement *s, int index, bool list) {
  if (s->handle == NULL) return false;
  if (s->in_use) luaL_error(L, "a finalizer uses a statement that is being read");
  const int code = step(s);
  if (code == SQLITE_DONE) return false;
  if (code != SQLITE_ROW) raise_last(L, index, sqlite3_db_handle(s->handle));
  s->in_use = true; /* until the values, which SQLite holds, are copied */
  const int columns = sqlite3_column_count(s->handle);
  lua_createtable(L, list ? columns : 0, list ? 0 : columns);
  for (int i = 0; i < columns; i++) {
    if (!list) lua_pushstring(L, sqlite3_column_name(s->handle, i));
    push_column(L, s->handle, i);
    if (list)
      lua_rawseti(L, -2, i + 1);
    else
      lua_rawset(L, -3);
  }
  s->in_use = false;
  return true;
}

static int database_run(lua_State *L) {
  sqlite3 *handle = check_database(L)->handle;
  const sqlite3_int64 before = sqlite3_total_changes64(handle);
  const char *sql = luaL_checkstring(L, 2);
  const int last = lua_gettop(L);
  while (*sql != '\0') {
    statement *s;
    sql = prepare(L, sql, &s);
    lua_toclose(L, -1);
    if (s->handle != NULL) {
      bind(L, s, last);
      int code;
      while ((code = step(s)) == SQLITE_ROW) continue;
      if (code != SQLITE_DONE) return raise_last(L, 1, sqlite3_db_handle(s->handle));
    }
    lua_settop(L, last); /* closes the statement */
  }
  lua_pushinteger(L, (lua_Integer)(sqlite3_total_changes64(check_database(L)->handle) - before));
  return 1;
}

static int database_rows(lua_State *L) {
  check_database(L);
  statement *s = prepare_only(L);
  lua_toclose(L, -1);
  lua_newtable(L);
  for (lua_Integer i = 1; push_row(L, s, 1, false); i++) lua_rawseti(L, -2, i);
  return 1;
}

static int next_row(lua_State *L) {
  statement *s = lua_touserdata(L, lua_upvalueindex(1));
  const bool list = lua_toboolean(L, lua_upvalueindex(2));
  lua_getiuservalue(L, lua_upvalueindex(1), 1);
  return push_row(L, s, lua_gettop(L), list) ? 1 : 0;
}

static int iterate(lua_State *L, bool list) {
  check_database(L);
  prepare_only(L);
  const int statement_index = lua_gettop(L);
  lua_pushvalue(L, statement_index);
  lua_pushboolean(L, list);
  lua_pushcclosure(L, next_row, 2);
  lua_pushnil(L);
  lua_pushnil(L);
  lua_pushvalue(L, statement_index); /* the loop closes it when it ends */
  return 4;
}

static int database_each(lua_State *L) { return iterate(L, false); }
static int database_each_list(lua_State *L) { return iterate(L, true); }

/* ---- the unit ------------------------------------------------------------------------------ */

static const spdL_function functions[] = {
    {"open", sqlite_open,
     "open(path [, mode [, remedy]]) -> db\n"
     "An SQLite database. mode: \"read\", \"write\" (it must exist), or \"create\" (the default). remedy: what to do\n"
     "when it is damaged, for the message. Errors are objects with status, message and kind: \"damaged\" (or no\n"
     "database, or one on which a statement does not end), \"busy\" (locked by another process for 10 seconds),\n"
     "\"missing\" or \"other\". Triggers and views are off, and no file can be attached. Write `local db <close> = spd.sqlite.open(path)`."},
    {NULL, NULL, NULL}};

static const spdL_function methods[] = {
    {"run", database_run,
     "db:run(sql, ...) -> number of changed rows\n"
     "Run a statement, with the further arguments (nil, boolean, number, string) for the question marks in it; without\n"
     "any, several statements with semicolons between them."},
    {"rows", database_rows,
     "db:rows(sql, ...) -> list of rows\n"
     "Run a query as db:run does. A row is a table by column name; NULL is absent."},
    {"each", database_each,
     "db:each(sql, ...) -> iterator of rows\n"
     "The same one by one: for row in db:each(\"select ...\") do ... end"},
    {"each_list", database_each_list,
     "db:each_list(sql, ...) -> iterator of rows\n"
     "The same, a row being the list of its values in the order of the columns, nil for NULL. It takes half the time."},
    {"close", database_close, "db:close()\nA transaction that was not committed is undone."},
    {NULL, NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__gc", database_close}, {"__close", database_close}, {NULL, NULL}};
static const luaL_Reg statement_metamethods[] = {
    {"__gc", statement_collect}, {"__close", statement_close}, {NULL, NULL}};

void spdL_open_sqlite(lua_State *L) {
  spdL_new_type(L, STATEMENT, statement_metamethods, NULL, NULL);
  spdL_new_type(L, DATABASE, metamethods, "__index", methods);
  lua_newtable(L);
  spdL_register(L, functions);
  lua_setfield(L, -2, "sqlite");
}
