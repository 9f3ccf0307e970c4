package protocol

// SQLSTATEs that lockproxy says or looks at, named after PostgreSQL's conditions (manual, "PostgreSQL Error Codes").
const (
	SuccessfulCompletion              = "00000" // successful_completion: a notice's
	CannotConnect                     = "08001" // sqlclient_unable_to_establish_sqlconnection
	ConnectionFailure                 = "08006" // connection_failure
	TransactionResolutionUnknown      = "08007" // transaction_resolution_unknown
	ProtocolViolation                 = "08P01" // protocol_violation
	FeatureNotSupported               = "0A000" // feature_not_supported
	InvalidParameterValue             = "22023" // invalid_parameter_value
	UntranslatableCharacter           = "22P05" // untranslatable_character
	ActiveSQLTransaction              = "25001" // active_sql_transaction
	NoActiveSQLTransaction            = "25P01" // no_active_sql_transaction
	InFailedSQLTransaction            = "25P02" // in_failed_sql_transaction
	IdleInTransactionSessionTimeout   = "25P03" // idle_in_transaction_session_timeout
	TransactionTimeout                = "25P04" // transaction_timeout
	InvalidSQLStatementName           = "26000" // invalid_sql_statement_name
	InvalidAuthorizationSpecification = "28000" // invalid_authorization_specification
	InvalidPassword                   = "28P01" // invalid_password
	InvalidCursorName                 = "34000" // invalid_cursor_name
	InvalidCatalogName                = "3D000" // invalid_catalog_name
	DeadlockDetected                  = "40P01" // deadlock_detected
	InsufficientPrivilege             = "42501" // insufficient_privilege
	SyntaxError                       = "42601" // syntax_error
	NameTooLong                       = "42622" // name_too_long
	UndefinedObject                   = "42704" // undefined_object
	DuplicatePreparedStatement        = "42P05" // duplicate_prepared_statement
	TooManyConnections                = "53300" // too_many_connections
	ProgramLimitExceeded              = "54000" // program_limit_exceeded
	ObjectNotInPrerequisiteState      = "55000" // object_not_in_prerequisite_state
	CantChangeRuntimeParam            = "55P02" // cant_change_runtime_param
	LockNotAvailable                  = "55P03" // lock_not_available
	QueryCanceled                     = "57014" // query_canceled
	AdminShutdown                     = "57P01" // admin_shutdown
	CannotConnectNow                  = "57P03" // cannot_connect_now
	IdleSessionTimeout                = "57P05" // idle_session_timeout
	InternalError                     = "XX000" // internal_error
)
